/* One LSTM, a softmax layer, cross-entropy and Adam, by hand: the floor for the small networks.
 *
 * The same arithmetic as Keras: gates in the order input, forget, cell, output; backpropagation
 * through the time steps of a sample; Adam with bias correction and Keras's epsilon. One thread.
 * All sizes are compile-time constants, so that the compiler can unroll and vectorise every loop:
 *
 *   cc -O3 -march=native -ffast-math --param=max-completely-peel-times=8 -shared -fPIC \
 *      -DBATCH=1 -DTIME_STEPS=1 -DFEATURES=1 -DUNITS=32 -DCLASSES=26 -DSTATEFUL=0 \
 *      lstm.c -o lstm.so -lm
 *
 * A product with a state that is known to be zero (the first time step of a stateless sample) is
 * left out, as a compiler that has the whole program in view can leave it out.
 */
#include <math.h>
#include <string.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define GATES (4 * UNITS)

static const float RATE = 0.001f, BETA_1 = 0.9f, BETA_2 = 0.999f, EPSILON = 1e-7f;

typedef struct {
    float kernel[FEATURES][GATES];
    float recurrent[UNITS][GATES];
    float bias[GATES];
    float dense[CLASSES][UNITS]; /* one row a class: every inner loop is contiguous */
    float dense_bias[CLASSES];
} Parameters;

enum { PARAMETERS = sizeof(Parameters) / sizeof(float) };

typedef union { /* by name for the network, flat for Adam */
    Parameters named;
    float flat[PARAMETERS];
} Vector;

typedef struct {
    Vector weights, gradient, first_moment, second_moment;
    float first_power, second_power; /* beta_1^t and beta_2^t */
    float h[BATCH][UNITS], c[BATCH][UNITS]; /* carried from batch to batch if STATEFUL */
} Model;

/* What one row of one sample leaves behind for its backward pass. */
typedef struct {
    float gates[TIME_STEPS][GATES];
    float h[TIME_STEPS + 1][UNITS], c[TIME_STEPS + 1][UNITS], tanh_c[TIME_STEPS][UNITS];
    float d_logits[CLASSES];
} Trace;

size_t model_bytes(void) { return sizeof(Model); }

void start(Model *model, const float *weights) {
    memset(model, 0, sizeof *model);
    memcpy(model->weights.flat, weights, sizeof(Parameters));
    model->first_power = model->second_power = 1.0f;
}

static void lstm_step(const Parameters *p, const float *x, Trace *trace, int t) {
    float *z = trace->gates[t];
    const float *h = trace->h[t], *c = trace->c[t];
    memcpy(z, p->bias, sizeof p->bias);
    for (int f = 0; f < FEATURES; f++)
        for (int j = 0; j < GATES; j++) z[j] += x[f] * p->kernel[f][j];
    if (t > 0 || STATEFUL)
        for (int k = 0; k < UNITS; k++)
            for (int j = 0; j < GATES; j++) z[j] += h[k] * p->recurrent[k][j];
    float *i = z, *f = z + UNITS, *g = z + 2 * UNITS, *o = z + 3 * UNITS;
    for (int k = 0; k < 2 * UNITS; k++) z[k] = 1.0f / (1.0f + expf(-z[k]));
    for (int k = 0; k < UNITS; k++) g[k] = tanhf(g[k]);
    for (int k = 0; k < UNITS; k++) o[k] = 1.0f / (1.0f + expf(-o[k]));
    for (int k = 0; k < UNITS; k++) {
        trace->c[t + 1][k] = f[k] * c[k] + i[k] * g[k];
        trace->tanh_c[t][k] = tanhf(trace->c[t + 1][k]);
        trace->h[t + 1][k] = o[k] * trace->tanh_c[t][k];
    }
}

/* The cross-entropy of one row; leaves the gradient of the mean over the batch in d_logits. */
static float softmax(const Parameters *p, Trace *trace, int label, int *correct) {
    const float *h = trace->h[TIME_STEPS];
    float logits[CLASSES], largest = -INFINITY, sum = 0.0f;
    for (int j = 0; j < CLASSES; j++) {
        float dot = p->dense_bias[j];
        for (int k = 0; k < UNITS; k++) dot += p->dense[j][k] * h[k];
        logits[j] = dot;
    }
    for (int j = 0; j < CLASSES; j++) largest = logits[j] > largest ? logits[j] : largest;
    for (int j = 0; j < CLASSES; j++) /* vector expf is slow where its result underflows */
        trace->d_logits[j] = expf(fmaxf(logits[j] - largest, -80.0f));
    for (int j = 0; j < CLASSES; j++) sum += trace->d_logits[j];
    for (int j = 0; j < CLASSES; j++) trace->d_logits[j] *= 1.0f / (sum * BATCH);
    trace->d_logits[label] -= 1.0f / BATCH;
    *correct += logits[label] == largest;
    return logf(sum) + largest - logits[label];
}

/* gradient = or += scale * values: the first contribution of a batch overwrites. */
static inline void add(float *restrict gradient, float scale, const float *restrict values,
                       int length, int first) {
    if (first)
        for (int j = 0; j < length; j++) gradient[j] = scale * values[j];
    else
        for (int j = 0; j < length; j++) gradient[j] += scale * values[j];
}

static void dense_backward(const Parameters *p, Parameters *gradient, const Trace *trace,
                           float *restrict d_h, int first) {
    memset(d_h, 0, sizeof(float) * UNITS);
    for (int j = 0; j < CLASSES; j++) {
        float d_logit = trace->d_logits[j];
        for (int k = 0; k < UNITS; k++) d_h[k] += d_logit * p->dense[j][k];
        add(gradient->dense[j], d_logit, trace->h[TIME_STEPS], UNITS, first);
    }
    add(gradient->dense_bias, 1.0f, trace->d_logits, CLASSES, first);
}

static void gates_backward(const Trace *trace, int t, const float *restrict d_h,
                           float *restrict d_c, float *restrict d_z) {
    const float *i = trace->gates[t], *f = i + UNITS, *g = f + UNITS, *o = g + UNITS;
    const float *c = trace->c[t], *tanh_c = trace->tanh_c[t];
    for (int k = 0; k < UNITS; k++) {
        float d = d_c[k] + d_h[k] * o[k] * (1.0f - tanh_c[k] * tanh_c[k]);
        d_z[k] = d * g[k] * i[k] * (1.0f - i[k]);
        d_z[UNITS + k] = d * c[k] * f[k] * (1.0f - f[k]);
        d_z[2 * UNITS + k] = d * i[k] * (1.0f - g[k] * g[k]);
        d_z[3 * UNITS + k] = d_h[k] * tanh_c[k] * o[k] * (1.0f - o[k]);
        d_c[k] = d * f[k];
    }
}

static void backward(const Parameters *p, Parameters *gradient, const Trace *trace,
                     const float *x, int first) {
    float d_h[UNITS], d_c[UNITS] = {0}, d_z[GATES];
    dense_backward(p, gradient, trace, d_h, first);
    for (int t = TIME_STEPS - 1; t >= 0; t--) {
        int opens = first && t == TIME_STEPS - 1;
        gates_backward(trace, t, d_h, d_c, d_z);
        add(gradient->bias, 1.0f, d_z, GATES, opens);
        for (int f = 0; f < FEATURES; f++)
            add(gradient->kernel[f], x[t * FEATURES + f], d_z, GATES, opens);
        if (t > 0 || STATEFUL)
            for (int k = 0; k < UNITS; k++)
                add(gradient->recurrent[k], trace->h[t][k], d_z, GATES, opens);
        if (t > 0)
            for (int k = 0; k < UNITS; k++) {
                float dot = 0.0f;
                for (int j = 0; j < GATES; j++) dot += p->recurrent[k][j] * d_z[j];
                d_h[k] = dot;
            }
    }
}

static void adam(float *restrict weights, float *restrict first, float *restrict second,
                 const float *restrict gradient, float alpha) {
    for (int n = 0; n < PARAMETERS; n++) {
        first[n] += (gradient[n] - first[n]) * (1.0f - BETA_1);
        second[n] += (gradient[n] * gradient[n] - second[n]) * (1.0f - BETA_2);
        weights[n] -= alpha * first[n] / (sqrtf(second[n]) + EPSILON);
    }
}

static void update(Model *model) {
    model->first_power *= BETA_1;
    model->second_power *= BETA_2;
    float alpha = RATE * sqrtf(1.0f - model->second_power) / (1.0f - model->first_power);
    adam(model->weights.flat, model->first_moment.flat, model->second_moment.flat,
         model->gradient.flat, alpha);
}

/* Updates alone, each with the same gradient. */
void updates(Model *model, int count) {
    for (int n = 0; n < count; n++) update(model);
}

static float train_batch(Model *model, const float *inputs, const int *labels, const int *rows,
                         int *correct) {
    Trace trace;
    float loss = 0.0f;
    for (int row = 0; row < BATCH; row++) {
        const float *x = inputs + rows[row] * TIME_STEPS * FEATURES;
        memcpy(trace.h[0], model->h[row], sizeof trace.h[0]);
        memcpy(trace.c[0], model->c[row], sizeof trace.c[0]);
        for (int t = 0; t < TIME_STEPS; t++)
            lstm_step(&model->weights.named, x + t * FEATURES, &trace, t);
        loss += softmax(&model->weights.named, &trace, labels[rows[row]], correct);
        backward(&model->weights.named, &model->gradient.named, &trace, x, row == 0);
        if (STATEFUL) {
            memcpy(model->h[row], trace.h[TIME_STEPS], sizeof trace.h[0]);
            memcpy(model->c[row], trace.c[TIME_STEPS], sizeof trace.c[0]);
        }
    }
    update(model);
    return loss / BATCH;
}

/* Trains; rows holds epochs x batches x BATCH sample numbers, losses and correct one value a step
 * and an epoch. The state is reset at the start of every epoch. */
void train(Model *model, const float *inputs, const int *labels, const int *rows, int epochs,
           int batches, float *losses, int *correct) {
#ifdef __SSE__
    _mm_setcsr(_mm_getcsr() | 0x8040); /* denormal numbers count as zero, as in XLA */
#endif
    for (int epoch = 0; epoch < epochs; epoch++) {
        memset(model->h, 0, sizeof model->h);
        memset(model->c, 0, sizeof model->c);
        correct[epoch] = 0;
        for (int batch = 0; batch < batches; batch++, rows += BATCH)
            *losses++ = train_batch(model, inputs, labels, rows, &correct[epoch]);
    }
}
