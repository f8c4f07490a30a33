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

/* A bit for each lane. */
INLINE unsigned bits(mask m) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)m, (__m512i)m);
#elif defined(__AVX__)
    return _mm256_movemask_pd((__m256d)m);
#else
    return (m[0] != 0) | (m[1] != 0) << 1;
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

/* A stage: what is known early first, so that only one product waits for the newest slope. Sums that are multiplied by something
 * anyway are scaled so that their largest term needs no product. */
#define STAGE(out, early, EARLY, a, newest) \
    state out; \
    { \
        vec known = h * early, last = h * a; \
        out.x = (s.x + known * (EARLY(x))) + last * newest.x; \
        out.y = (s.y + known * (EARLY(y))) + last * newest.y; \
        out.z = (s.z + known * (EARLY(z))) + last * newest.z; \
    }

#define EARLY3(c) k1.c
#define EARLY4(c) -0.45556671489241807 * k1.c + k2.c
#define EARLY5(c) -0.45330816323091927 * k1.c + k2.c + -0.6379788600354329 * k3.c
#define EARLY6(c) -0.4536389878157419 * k1.c + k2.c + -0.63148264637592 * k3.c + 0.005540216954352189 * k4.c
#define EARLY7(c) \
    -0.029318762526292664 * k1.c + -0.003039449456336048 * k2.c + -0.14586003370536468 * k3.c + -0.41914268608423666 * k4.c + k5.c
#define ERROR(c) \
    (-0.003056562463419702 * k1.c + -0.0014019479935861836 * k2.c + 0.013532722661938385 * k3.c + -0.24849184616936348 * k4.c + k5.c + \
     -0.7865999305996468 * k6.c + 0.02601756456407773 * k7.c)
#define INNER(c) (0.02613520397043738 * k2.c + k3.c + 0.3521470328055484 * k4.c + -0.14817412041141673 * k6.c)
/* One over the error per unit of time and of rtol that a component may have: known before the step begins. */
#define ALLOWED(c) 1.0 / ((least + magnitude(s.c)) + magnitude(h * k1.c))
#define LARGER(a, b) ((a) > (b) ? (a) : (b))

typedef struct {
    vec t, lag, h, rho, due, rejected, accepted, attempts;
    state s, k1;
    vec width, error; /* of the last attempt, for those that look at it */
    mask stuck;
    state q1, q2, q3;
} group;

/* One attempt for WIDTH runs; returns where somebody has to look at it. */
template <bool SAVE> INLINE mask attempt(group *g, vec t1, double least, double unit, double max_steps) {
    state s = g->s, k1 = g->k1;
    vec t = g->t, lag = g->lag;
    vec left = (t1 - t) + lag;
    mask last = left <= g->h * (1.0 + 0x1p-13);
    vec h = last ? left : g->h;
    state allowed = {ALLOWED(x), ALLOWED(y), ALLOWED(z)};
    vec first = h * 0.161;
    state s2 = {s.x + first * k1.x, s.y + first * k1.y, s.z + first * k1.z}, k2 = slope(s2, g->rho);
    STAGE(s3, -0.008480655492356989, EARLY3, 0.335480655492357, k2) state k3 = slope(s3, g->rho);
    STAGE(s4, -6.359448489975075, EARLY4, 4.3622954328695815, k3) state k4 = slope(s4, g->rho);
    STAGE(s5, -11.748883564062828, EARLY5, -0.09249506636175525, k4) state k5 = slope(s5, g->rho);
    STAGE(s6, -12.92096931784711, EARLY6, -0.028269050394068383, k5) state k6 = slope(s6, g->rho);
    vec known7 = h * -3.290069515436081, last6 = h * 2.324710524099774;
    state q1 = {known7 * (EARLY7(x)) + last6 * k6.x, known7 * (EARLY7(y)) + last6 * k6.y, known7 * (EARLY7(z)) + last6 * k6.z};
    state v = {s.x + q1.x, s.y + q1.y, s.z + q1.z};
    state k7 = slope(v, g->rho);
    state e = {magnitude(ERROR(x)) * allowed.x, magnitude(ERROR(y)) * allowed.y, magnitude(ERROR(z)) * allowed.z};
    vec total = (e.x + e.y) + e.z, xy = LARGER(e.y, e.x), largest = LARGER(e.z, xy);
    vec error = total <= HUGEST ? (h * (0.5823571654525552 * unit)) * largest : all(NAN);
    mask ok = error <= 1.0, near = error <= 1e5;
    vec factor = 0.6638796726387968 + 0.22362315583875314 / (0.1402344614023446 + error);
    factor = error > 0.00015053664563199993 ? factor : all(5.0);
    vec calm = factor < 1.0 ? factor : all(1.0);
    factor = g->rejected > 0.0 ? calm : factor;
    g->h = h * (near ? factor : all(0.1));
    vec step = h - lag, sum = t + step, next = last ? t1 : sum;
    g->lag = ok ? (sum - t) - step : lag;
    g->t = ok ? next : t;
    g->s = chosen(ok, v, s);
    g->k1 = chosen(ok, k7, k1);
    g->rejected = ok ? all(0.0) : g->rejected + 1.0;
    g->accepted += ok ? all(1.0) : all(0.0);
    g->attempts += 1.0;
    g->stuck = ~(next > t);
    g->width = h;
    g->error = error;
    if (SAVE) {
        state q3 = {INNER(x), INNER(y), INNER(z)};
        g->q1 = q1; g->q2 = k1; g->q3 = q3;
    }
    return (g->attempts >= max_steps) | g->stuck | ~near | (g->t >= (SAVE ? g->due : t1));
}

/* Whether and how the run of a lane has ended, or -1. */
INLINE int verdict(const group *g, int i, double t1, double max_steps) {
    if (g->t[i] >= t1) return OK;
    if (!(g->error[i] <= HUGEST) && (g->rejected[i] >= 10 || g->stuck[i])) return NON_FINITE;
    if (g->stuck[i]) return STEP_UNDERFLOW;
    return g->attempts[i] >= max_steps ? MAX_STEPS : -1;
}

/* The save points that the last step has passed, from number m on; returns the next number. */
#define INTERPOLATED(c) (g->s.c[i] + ((by1 * g->q1.c[i] + by2 * g->q2.c[i]) + (by3 * g->k1.c[i] + by4 * g->q3.c[i])))
INLINE int64_t saved(const group *g, int i, int64_t m, const double *ts, int64_t n_points, double *__restrict ys, int64_t n, int64_t r) {
    double t = g->t[i], lag = g->lag[i], width = g->width[i], rate = 1.0 / width;
    for (; m < n_points && ts[m] <= t; m++) {
        double back = ts[m] < t ? ((t - ts[m]) - lag) * rate : 0.0, th = 1.0 - back, bump = back * th;
        double arc = width * bump, by1 = bump * ((th - back) + -14.400766227135291 * bump) - back;
        double by2 = arc * (back + 0.3360204553081447 * bump), by3 = arc * (2.5 * bump - th), by4 = arc * (9.401405956092141 * bump);
        double x = INTERPOLATED(x), y = INTERPOLATED(y), z = INTERPOLATED(z);
        double *to = ys + 3 * m * n + r, *ahead = to + 30 * n; /* lines that are written soon are fetched meanwhile */
        __builtin_prefetch(ahead, 1); __builtin_prefetch(ahead + n, 1); __builtin_prefetch(ahead + 2 * n, 1);
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
                     const double *__restrict ts, double *__restrict ys, int32_t *counts, int32_t *status) {
    group g[GROUPS];
    int64_t run[LANES], point[LANES], upcoming = 0, active = 0;
    int refill = 1;
    double least = atol / rtol, unit = 1.0 / rtol;
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
        for (int j = 0; j < GROUPS; j++) todo[j] = attempt<SAVE>(&g[j], all(t1), least, unit, max_steps);
        for (int j = 0; j < GROUPS; j++) {
            unsigned due = bits(todo[j]);
            if (!due) continue;
            for (int i = 0; i < WIDTH; i++) {
                int l = j * WIDTH + i;
                group *of = &g[j];
                int64_t r = run[l];
                if (!(due >> i & 1) || r < 0) continue;
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
                       const double *__restrict ts, double *__restrict ys, int32_t *counts, int32_t *status) {
    if (n_points) ensemble<true>(n, rho, t1, h0, rtol, atol, max_steps, n_points, ts, ys, counts, status);
    else ensemble<false>(n, rho, t1, h0, rtol, atol, max_steps, n_points, ts, ys, counts, status);
}
