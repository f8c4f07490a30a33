/* The yardstick of benchmarks/solver.py: the Lorenz ensemble by Tsitouras' method in GCC vector types (C with its vector extensions,
 * of which the selection `mask ? a : b` is C++ only).
 *
 * Written by hand for this one problem and for one width per machine (8 doubles with AVX-512, 4 with AVX, 2 otherwise): two vectors
 * of runs in lockstep, own time and step per lane, a finished lane takes the next run. It does the work of the generated program,
 * attempt for attempt: the same stages, error norm and controller, time summed with its rounding error carried along, errors that are
 * not finite, steps that vanish and too many attempts noticed, and the interpolant where there are save points. Compiled without
 * fused operations it takes the same number of steps and ends in the same numbers. What it is spared: it counts in doubles, its first
 * state is a constant, and all runs share span and save points.
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

static const double HUGEST = 1.7976931348623157e308;
enum { OK, EVENT, MAX_STEPS, STEP_UNDERFLOW, NON_FINITE };

INLINE vec all(double x) { return x - (vec){0}; }
INLINE vec magnitude(vec x) { return (vec)((mask)x & 0x7fffffffffffffffLL); }

INLINE int any(mask m) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)m, (__m512i)m) != 0;
#elif defined(__AVX__)
    return !_mm256_testz_si256((__m256i)m, (__m256i)m);
#else
    return (m[0] | m[1]) != 0;
#endif
}

typedef struct { vec x, y, z; } state;

INLINE state slope(state s, vec rho) {
    state d = {10.0 * (s.y - s.x), s.x * (rho - s.z) - s.y, s.x * s.y - (8.0 / 3.0) * s.z};
    return d;
}

INLINE state chosen(mask where, state a, state b) {
    state c = {where ? a.x : b.x, where ? a.y : b.y, where ? a.z : b.z};
    return c;
}

/* A stage: what is known early first, so that only one product waits for the newest slope. */
#define STAGE(out, a, newest, EARLY) \
    state out; \
    { \
        vec last = h * a; \
        out.x = (s.x + h * (EARLY(x))) + last * newest.x; \
        out.y = (s.y + h * (EARLY(y))) + last * newest.y; \
        out.z = (s.z + h * (EARLY(z))) + last * newest.z; \
    }

#define EARLY3(c) -0.008480655492356989 * k1.c
#define EARLY4(c) 2.8971530571054935 * k1.c + -6.359448489975075 * k2.c
#define EARLY5(c) 5.325864828439257 * k1.c + -11.748883564062828 * k2.c + 7.4955393428898365 * k3.c
#define EARLY6(c) 5.86145544294642 * k1.c + -12.92096931784711 * k2.c + 8.159367898576159 * k3.c + -0.071584973281401 * k4.c
#define EARLY7(c) \
    0.09646076681806523 * k1.c + 0.01 * k2.c + 0.4798896504144996 * k3.c + 1.379008574103742 * k4.c + -3.290069515436081 * k5.c
#define ERROR(c) \
    (-0.001780011052225777 * k1.c + -0.0008164344596567469 * k2.c + 0.007880878010261995 * k3.c + -0.1447110071732629 * k4.c + \
     0.5823571654525552 * k5.c + -0.45808210592918697 * k6.c + 0.015151515151515152 * k7.c)
#define QUARTIC(c) \
    (-1.0530884977290216 * k1.c + 0.1017 * k2.c + 2.490627285651253 * k3.c + -16.548102889244902 * k4.c + \
     47.37952196281928 * k5.c + -34.87065786149661 * k6.c + 2.5 * k7.c)
/* One over the error per unit of time that a component may have: known before the step begins. */
#define ALLOWED(c) 1.0 / ((atol + rtol * magnitude(s.c)) + magnitude((rtol * h) * k1.c))
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define SCALED(h, SUM) {h * SUM(x), h * SUM(y), h * SUM(z)}

typedef struct {
    vec t, lag, h, rho, due, rejected, accepted, attempts;
    state s, k1;
    vec begun, width, error; /* of the last attempt, for those that look at it */
    state q1, q2, q3, q4;
} group;

/* One attempt for WIDTH runs; returns where somebody has to look at it. */
template <bool SAVE> INLINE mask attempt(group *g, vec t1, double rtol, double atol, double max_steps) {
    state s = g->s, k1 = g->k1;
    vec t = g->t, lag = g->lag;
    mask last = t + g->h * (1.0 + 0x1p-13) >= t1;
    vec h = last ? (t1 - t) + lag : g->h;
    state allowed = {ALLOWED(x), ALLOWED(y), ALLOWED(z)};
    vec first = h * 0.161;
    state s2 = {s.x + first * k1.x, s.y + first * k1.y, s.z + first * k1.z}, k2 = slope(s2, g->rho);
    STAGE(s3, 0.335480655492357, k2, EARLY3) state k3 = slope(s3, g->rho);
    STAGE(s4, 4.3622954328695815, k3, EARLY4) state k4 = slope(s4, g->rho);
    STAGE(s5, -0.09249506636175525, k4, EARLY5) state k5 = slope(s5, g->rho);
    STAGE(s6, -0.028269050394068383, k5, EARLY6) state k6 = slope(s6, g->rho);
    vec last6 = h * 2.324710524099774;
    state v = {s.x + (h * (EARLY7(x)) + last6 * k6.x), s.y + (h * (EARLY7(y)) + last6 * k6.y), s.z + (h * (EARLY7(z)) + last6 * k6.z)};
    state k7 = slope(v, g->rho);
    state e = {magnitude(ERROR(x)) * allowed.x, magnitude(ERROR(y)) * allowed.y, magnitude(ERROR(z)) * allowed.z};
    vec total = (e.x + e.y) + e.z, xy = LARGER(e.y, e.x), largest = LARGER(e.z, xy);
    vec error = total <= HUGEST ? h * largest : all(NAN);
    mask ok = error <= 1.0, near = error <= 1e5;
    vec factor = (0.2842289039767216 + 0.5957710960232784 * error) / (0.12298739088263821 + 0.8770126091173618 * error);
    vec calm = factor < 1.0 ? factor : all(1.0);
    factor = (ok & (g->rejected == 0.0)) ? factor : calm;
    g->h = h * (near ? factor : all(0.1));
    vec step = h - lag, sum = t + step, next = last ? t1 : sum;
    g->lag = ok ? (sum - t) - step : lag;
    g->t = ok ? next : t;
    g->s = chosen(ok, v, s);
    g->k1 = chosen(ok, k7, k1);
    g->rejected = ok ? all(0.0) : g->rejected + 1.0;
    g->accepted += ok ? all(1.0) : all(0.0);
    g->attempts += 1.0;
    g->begun = t;
    g->width = h;
    g->error = error;
    if (SAVE) {
        state q1 = {v.x - s.x, v.y - s.y, v.z - s.z}, q2 = {h * k1.x - q1.x, h * k1.y - q1.y, h * k1.z - q1.z};
        state q3 = {(q1.x - h * k7.x) - q2.x, (q1.y - h * k7.y) - q2.y, (q1.z - h * k7.z) - q2.z}, q4 = SCALED(h, QUARTIC);
        g->q1 = q1; g->q2 = q2; g->q3 = q3; g->q4 = q4;
    }
    return (g->attempts >= max_steps) | ~(next > t) | ~near | (g->t >= (SAVE ? g->due : t1));
}

/* Whether and how the run of a lane has ended, or -1. */
INLINE int verdict(const group *g, int i, double t1, double max_steps) {
    int stuck = g->begun[i] + g->width[i] <= g->begun[i];
    if (g->t[i] >= t1) return OK;
    if (!(g->error[i] <= HUGEST) && (g->rejected[i] >= 10 || stuck)) return NON_FINITE;
    if (stuck) return STEP_UNDERFLOW;
    return g->attempts[i] >= max_steps ? MAX_STEPS : -1;
}

/* The save points that the last step has passed, from number m on; returns the next number. */
#define INTERPOLATED(c) ((g->s.c[i] - back * g->q1.c[i]) + bump * ((g->q2.c[i] + th * g->q3.c[i]) + bump * g->q4.c[i]))
INLINE int64_t saved(const group *g, int i, int64_t m, const double *ts, int64_t n_points, double *ys, int64_t n, int64_t r) {
    double rate = 1.0 / g->width[i];
    for (; m < n_points && ts[m] <= g->t[i]; m++) {
        double back = ts[m] < g->t[i] ? ((g->t[i] - ts[m]) - g->lag[i]) * rate : 0.0, th = 1.0 - back, bump = back * th;
        double x = INTERPOLATED(x), y = INTERPOLATED(y), z = INTERPOLATED(z);
        double *to = ys + 3 * m * n + r;
        to[0] = x; to[n] = y; to[2 * n] = z;
    }
    return m;
}

INLINE void begin(group *g, int i, double rho, double h0) {
    g->t[i] = 0; g->lag[i] = 0; g->h[i] = h0; g->rho[i] = rho;
    g->rejected[i] = 0; g->accepted[i] = 0; g->attempts[i] = 0;
    g->s.x[i] = 1; g->s.y[i] = 0; g->s.z[i] = 0;
    g->k1.x[i] = -10.0; g->k1.y[i] = rho; g->k1.z[i] = 0;
}

template <bool SAVE>
INLINE void ensemble(int64_t n, const double *rho, double t1, double h0, double rtol, double atol, double max_steps, int64_t n_points,
                     const double *ts, double *ys, int32_t *counts, int32_t *status) {
    group g[GROUPS];
    int64_t run[LANES], point[LANES], upcoming = 0, active = 0;
    int refill = 1;
    __builtin_memset((void *)g, 0, sizeof g);
    for (int l = 0; l < LANES; l++) run[l] = -1;
    for (;;) {
        if (refill)
            for (int l = 0; l < LANES && upcoming < n; l++)
                if (run[l] < 0) {
                    group *to = &g[l / WIDTH];
                    int64_t r = run[l] = upcoming++;
                    active++;
                    begin(to, l % WIDTH, rho[r], h0);
                    if (SAVE) {
                        point[l] = saved(to, l % WIDTH, 0, ts, n_points, ys, n, r);
                        to->due[l % WIDTH] = point[l] < n_points && ts[point[l]] < t1 ? ts[point[l]] : t1;
                    }
                }
        refill = 0;
        if (!active) return;
        mask todo[GROUPS];
        for (int j = 0; j < GROUPS; j++) todo[j] = attempt<SAVE>(&g[j], all(t1), rtol, atol, max_steps);
        for (int j = 0; j < GROUPS; j++) {
            if (!any(todo[j])) continue;
            for (int i = 0; i < WIDTH; i++) {
                int l = j * WIDTH + i;
                group *of = &g[j];
                int64_t r = run[l];
                if (!todo[j][i] || r < 0) continue;
                int ended = verdict(of, i, t1, max_steps);
                if (SAVE) {
                    point[l] = saved(of, i, point[l], ts, n_points, ys, n, r);
                    of->due[i] = point[l] < n_points && ts[point[l]] < t1 ? ts[point[l]] : t1;
                }
                if (ended < 0) continue;
                double x = of->s.x[i], y = of->s.y[i], z = of->s.z[i];
                if (SAVE)
                    for (; point[l] < n_points; point[l]++)
                        for (int c = 0; c < 3; c++) ys[(3 * point[l] + c) * n + r] = NAN;
                else {
                    ys[r] = x; ys[n + r] = y; ys[2 * n + r] = z;
                }
                counts[r] = (int32_t)of->accepted[i];
                counts[n + r] = (int32_t)(of->attempts[i] - of->accepted[i]);
                status[r] = 0.0 * x + 0.0 * y + 0.0 * z == 0.0 ? ended : NON_FINITE;
                run[l] = -1;
                active--;
                refill = 1;
            }
        }
    }
}

/* All n runs from (1, 0, 0) at time 0 to t1; ts: n_points save points, none for the final states only. ys: (n_points or 1, 3, n),
 * counts: (2, n) accepted and rejected, status: (n); run axis last. */
extern "C" void lorenz(int64_t n, const double *rho, double t1, double h0, double rtol, double atol, double max_steps, int64_t n_points,
                       const double *ts, double *ys, int32_t *counts, int32_t *status) {
    if (n_points) ensemble<true>(n, rho, t1, h0, rtol, atol, max_steps, n_points, ts, ys, counts, status);
    else ensemble<false>(n, rho, t1, h0, rtol, atol, max_steps, n_points, ts, ys, counts, status);
}
