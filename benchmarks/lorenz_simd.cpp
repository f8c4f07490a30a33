/* The yardstick of benchmarks/solver.py: the Lorenz ensemble by Tsitouras' method in GCC vector types (C with its vector extensions,
 * of which the selection `mask ? a : b` is C++ only).
 *
 * Written by hand for this one problem and for one width per machine (8 doubles with AVX-512, 4 with AVX, 2 otherwise): two vectors
 * of runs in lockstep, own time and step per lane, a finished lane takes the next run. The step controller is that of the solver, so
 * that both do the same work; nothing but the arithmetic is general.
 *
 *     g++ -O3 -march=native -fno-math-errno -shared -fPIC lorenz_simd.cpp -o lorenz_simd.so
 */
#include <math.h>
#include <stdint.h>
#if defined(__AVX512F__) || defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define WIDTH 8
#elif defined(__AVX__)
#define WIDTH 4
#else
#define WIDTH 2
#endif
#define GROUPS 2
#define LANES (WIDTH * GROUPS)
#define INLINE static inline __attribute__((always_inline))

typedef double vec __attribute__((vector_size(8 * WIDTH)));
typedef int64_t mask __attribute__((vector_size(8 * WIDTH)));

extern "C" int width(void) { return WIDTH; }

INLINE vec all(double x) { return x - (vec){0}; }
INLINE vec magnitude(vec x) { return (vec)((mask)x & 0x7fffffffffffffffLL); }
INLINE vec larger(vec a, vec b) { return a > b ? a : b; }
INLINE vec smaller(vec a, vec b) { return a < b ? a : b; }

INLINE vec root(vec x) {
#if defined(__AVX512F__)
    return (vec)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX__)
    return (vec)_mm256_sqrt_pd((__m256d)x);
#else
    for (int i = 0; i < WIDTH; i++) x[i] = sqrt(x[i]);
    return x;
#endif
}

typedef struct { vec x, y, z; } state;

INLINE state slope(state s, vec rho) {
    state d = {10.0 * (s.y - s.x), s.x * (rho - s.z) - s.y, s.x * s.y - (8.0 / 3.0) * s.z};
    return d;
}

#define ADVANCE(out, in, h, SUM) \
    state out; \
    { \
        vec sum; \
        SUM(x); out.x = in.x + h * sum; \
        SUM(y); out.y = in.y + h * sum; \
        SUM(z); out.z = in.z + h * sum; \
    }

#define STAGE2(c) sum = 0.161 * k1.c
#define STAGE3(c) sum = -0.008480655492356989 * k1.c + 0.335480655492357 * k2.c
#define STAGE4(c) sum = 2.8971530571054935 * k1.c + -6.359448489975075 * k2.c + 4.3622954328695815 * k3.c
#define STAGE5(c) \
    sum = 5.325864828439257 * k1.c + -11.748883564062828 * k2.c + 7.4955393428898365 * k3.c + -0.09249506636175525 * k4.c
#define STAGE6(c) \
    sum = 5.86145544294642 * k1.c + -12.92096931784711 * k2.c + 8.159367898576159 * k3.c + -0.071584973281401 * k4.c + \
          -0.028269050394068383 * k5.c
#define STAGE7(c) \
    sum = 0.09646076681806523 * k1.c + 0.01 * k2.c + 0.4798896504144996 * k3.c + 1.379008574103742 * k4.c + \
          -3.290069515436081 * k5.c + 2.324710524099774 * k6.c
#define ERROR(c) \
    (-0.00178001105222577714 * k1.c + -0.0008164344596567469 * k2.c + 0.007880878010261995 * k3.c + \
     -0.1447110071732629 * k4.c + 0.5823571654525552 * k5.c + -0.45808210592918697 * k6.c + \
     0.015151515151515152 * k7.c)
#define WORSE(c) \
    { \
        vec e = magnitude(h * ERROR(c)), scale = atol + rtol * larger(magnitude(s.c), magnitude(v.c)); \
        mask worse = e * den > num * scale; \
        num = worse ? e : num; \
        den = worse ? scale : den; \
    }

typedef struct { vec t, h, rho, accepted, attempts; state s, k1; mask rejected; } group;

/* One attempt for WIDTH runs; returns where a run has reached its end. */
INLINE mask attempt(group *g, vec t1, double rtol, double atol) {
    state s = g->s, k1 = g->k1;
    mask last = g->t + g->h * (1.0 + 0x1p-13) >= t1;
    vec h = last ? t1 - g->t : g->h;
    ADVANCE(s2, s, h, STAGE2) state k2 = slope(s2, g->rho);
    ADVANCE(s3, s, h, STAGE3) state k3 = slope(s3, g->rho);
    ADVANCE(s4, s, h, STAGE4) state k4 = slope(s4, g->rho);
    ADVANCE(s5, s, h, STAGE5) state k5 = slope(s5, g->rho);
    ADVANCE(s6, s, h, STAGE6) state k6 = slope(s6, g->rho);
    ADVANCE(v, s, h, STAGE7) state k7 = slope(v, g->rho);
    vec num = all(0.0), den = all(1.0);
    WORSE(x) WORSE(y) WORSE(z)
    vec error = num / den;
    mask ok = error <= 1.0;
    vec z = root(error);
    vec factor = (0.9 * 1.4 + 0.9 * 0.6 * z) / (0.6 + 1.4 * z);
    factor = (g->rejected | ~ok) ? smaller(factor, all(1.0)) : factor;
    g->rejected = ~ok;
    g->h = h * factor;
    g->t = ok ? (last ? t1 : g->t + h) : g->t;
    g->s.x = ok ? v.x : s.x; g->s.y = ok ? v.y : s.y; g->s.z = ok ? v.z : s.z;
    g->k1.x = ok ? k7.x : k1.x; g->k1.y = ok ? k7.y : k1.y; g->k1.z = ok ? k7.z : k1.z;
    g->accepted += ok ? all(1.0) : all(0.0);
    g->attempts += 1.0;
    return g->t >= t1;
}

/* All n runs from (1, 0, 0) at time 0 to t1. final: (3, n), counts: (2, n) accepted and rejected; run axis last. */
extern "C" void lorenz(int64_t n, const double *rho, double t1, double h0, double rtol, double atol, double *final, int32_t *counts) {
    group g[GROUPS];
    int64_t run[LANES], upcoming = 0, active = 0;
    int refill = 1;
    __builtin_memset((void *)g, 0, sizeof g);
    for (int l = 0; l < LANES; l++) run[l] = -1;
    for (;;) {
        if (refill)
            for (int l = 0; l < LANES && upcoming < n; l++)
                if (run[l] < 0) {
                    group *to = &g[l / WIDTH];
                    int i = l % WIDTH;
                    double p = rho[upcoming];
                    run[l] = upcoming++;
                    active++;
                    to->t[i] = 0; to->h[i] = h0; to->rho[i] = p; to->rejected[i] = 0;
                    to->accepted[i] = 0; to->attempts[i] = 0;
                    to->s.x[i] = 1; to->s.y[i] = 0; to->s.z[i] = 0;
                    to->k1.x[i] = -10.0; to->k1.y[i] = p; to->k1.z[i] = 0;
                }
        refill = 0;
        if (!active) return;
        mask done[GROUPS];
        int64_t any = 0;
        for (int j = 0; j < GROUPS; j++) {
            done[j] = attempt(&g[j], all(t1), rtol, atol);
            for (int i = 0; i < WIDTH; i++) any |= done[j][i];
        }
        if (!any) continue;
        for (int l = 0; l < LANES; l++) {
            group *of = &g[l / WIDTH];
            int i = l % WIDTH;
            int64_t r = run[l];
            if (!done[l / WIDTH][i] || r < 0) continue;
            final[r] = of->s.x[i]; final[n + r] = of->s.y[i]; final[2 * n + r] = of->s.z[i];
            counts[r] = (int32_t)of->accepted[i];
            counts[n + r] = (int32_t)(of->attempts[i] - of->accepted[i]);
            run[l] = -1;
            active--;
            refill = 1;
        }
    }
}
