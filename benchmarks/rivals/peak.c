/* The greatest rate of floating-point operations in float32: fused multiply-adds on registers alone,
   on all threads at once. Prints the sum over the threads of GFLOP per second of processor time, so
   that other work on the machine counts little. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
enum { FLOATS = 16, CHAINS = 16 };
#elif defined(__AVX__)
enum { FLOATS = 8, CHAINS = 12 };
#else
enum { FLOATS = 4, CHAINS = 24 };
#endif
typedef float vector __attribute__((vector_size(4 * FLOATS)));

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static void *run(void *result) {
    const long repeats = 2000000;
    double best = 0;
    for (int trial = 0; trial < 8; ++trial) {
        vector sums[CHAINS], factor = {0}, term = {0};
        for (int chain = 0; chain < CHAINS; ++chain) sums[chain] = factor + (float)chain;
        factor += 0.999f;
        term += 1e-3f;
        __asm__ volatile("" : "+m"(factor), "+m"(term));
        double began = now();
        for (long repeat = 0; repeat < repeats; ++repeat) {
#pragma GCC unroll 24
            for (int chain = 0; chain < CHAINS; ++chain) sums[chain] = sums[chain] * factor + term;
        }
        double seconds = now() - began;
        for (int chain = 1; chain < CHAINS; ++chain) sums[0] += sums[chain];
        volatile float used = sums[0][0];
        (void)used;
        double rate = 2.0 * FLOATS * CHAINS * repeats / seconds / 1e9;
        if (rate > best) best = rate;
    }
    *(double *)result = best;
    return NULL;
}

int main(int count, char **words) {
    int threads = count > 1 ? atoi(words[1]) : 1;
    pthread_t started[threads];
    double rates[threads], sum = 0;
    for (int each = 0; each < threads; ++each)
        pthread_create(&started[each], NULL, run, &rates[each]);
    for (int each = 0; each < threads; ++each) {
        pthread_join(started[each], NULL);
        sum += rates[each];
    }
    printf("%.2f\n", sum);
    return 0;
}
