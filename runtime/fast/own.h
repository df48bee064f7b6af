/* own.h -- our own arithmetic on plain arrays of float; private to the runtime.
 *
 * One source (own_*.inc) is compiled for each instruction set; pai_own picks the table that fits
 * the machine. Results depend on the table, not on the number of threads: a thread works on whole
 * elements of the result, and every sum is taken in the order its function states.
 */
#ifndef PAI_OWN_H
#define PAI_OWN_H

#include <stdbool.h>
#include <stdint.h>

typedef struct pai_product { /* C = act(alpha * A B + beta * C + bias) where mask > 0, else 0 */
	int64_t m, n, k;
	const float *a, *b;
	float *c;
	int64_t a_row, a_col, b_row, b_col,
		c_row;       /* strides in elements; C's columns are adjacent */
	const float *packed; /* B as `pack` leaves it, then b is not read; or NULL */
	float alpha, beta;
	const float *bias; /* [n], or NULL */
	const float *mask; /* [m, n], rows c_row apart, or NULL */
	bool relu;
	float *scratch; /* pai_own_gemm_scratch() floats for each thread */
} pai_product;

enum { PAI_GEMM_SCRATCH = 16 * 384, PAI_GEMM_COLUMNS = 16 };

typedef enum pai_map_kind { /* y = f(x) */
			    PAI_MAP_RELU,
			    PAI_MAP_LEAKY, /* slope alpha */
			    PAI_MAP_SIGMOID,
			    PAI_MAP_TANH,
			    PAI_MAP_EXP,
			    PAI_MAP_ERF,
			    PAI_MAP_GELU, /* x (1 + erf(x / sqrt 2)) / 2 */
			    PAI_MAP_SQRT,
			    PAI_MAP_ABS,
			    PAI_MAP_NEG,
			    PAI_MAP_CLIP, /* to [alpha, beta] */
			    PAI_MAP_LOG,
			    PAI_MAP_SQUARE,
			    PAI_MAP_RECIPROCAL,
			    PAI_MAP_HARD_SIGMOID, /* alpha x + beta, to [0, 1] */
			    PAI_MAP_HARD_SWISH,   /* x (alpha x + beta, to [0, 1]) */
			    PAI_MAP_COPY,
			    PAI_MAP_KINDS
} pai_map_kind;

typedef enum pai_zip_kind { /* y = f(a, b) */
			    PAI_ZIP_ADD,
			    PAI_ZIP_ADD_RELU,
			    PAI_ZIP_SUB,
			    PAI_ZIP_MUL,
			    PAI_ZIP_DIV,
			    PAI_ZIP_MIN,
			    PAI_ZIP_MAX,
			    PAI_ZIP_RELU_GRAD,    /* a where b > 0, else 0 */
			    PAI_ZIP_SIGMOID_GRAD, /* a b (1 - b) */
			    PAI_ZIP_TANH_GRAD,    /* a (1 - b b) */
			    PAI_ZIP_PRELU,        /* b a where a < 0, else a */
			    PAI_ZIP_KINDS
} pai_zip_kind;

/* y = (q - back_zero) back_scale, q = round(x / scale) + zero within [low, high] */
typedef struct pai_grid {
	float scale, zero, low, high, back_scale, back_zero;
} pai_grid;

typedef struct pai_pool { /* pooling of channels-last images over h and w */
	int64_t batch, channels, in_h, in_w, out_h, out_w;
	int64_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
	bool count_pad;       /* average: padding counts */
	int64_t end_h, end_w; /* rows and columns that count when padding does: in + both pads */
} pai_pool;

typedef struct pai_own {
	const char *name; /* as steps report it: "own:avx2" */
	/* Rows of C from lo to hi (by_rows), or columns. */
	void (*gemm)(const pai_product *g, bool by_rows, int64_t lo, int64_t hi, float *scratch);
	/* Copies B, of k rows and n columns rounded up to PAI_GEMM_COLUMNS. Columns from lo to hi
	 * of a product with it begin at a multiple of that. */
	void (*pack)(const pai_product *g, float *to);
	void (*map)(pai_map_kind kind, int64_t n, const float *x, float *y, float alpha,
		    float beta);
	/* step 0: the same element throughout; 1: adjacent elements. */
	void (*zip)(pai_zip_kind kind, int64_t n, const float *a, int a_step, const float *b,
		    int b_step, float *y);
	/* out[c] = sum over rows of x[r][c], in the order of r. */
	void (*sum_rows)(int64_t rows, int64_t cols, const float *x, int64_t row, float *out);
	/* Sum of n elements in eight partial sums, then pairwise. */
	float (*sum)(int64_t n, const float *x);
	float (*dot)(int64_t n, const float *x, const float *y);
	/* out[c] = sum over rows of (x[r][c] - mean[c]) * with[r][c]; NULL: the same again. */
	void (*moments)(int64_t rows, int64_t cols, const float *x, const float *mean,
			const float *with, float *out);
	/* y = a (x - m) + b of rows of n elements; m, a, b of each column, or (step 0) of each row.
	 */
	void (*affine)(int64_t rows, int64_t n, const float *x, const float *m, const float *a,
		       const float *b, int step, bool relu, float *y);
	/* y = a ((x - c) + b (z - m)), coefficients of each column */
	void (*blend)(int64_t rows, int64_t n, const float *x, const float *a, const float *z,
		      const float *m, const float *b, const float *c, float *y);
	/* NaN is taken for the integer 0. y may be x. */
	void (*to_grid)(const pai_grid *g, int64_t n, const float *x, float *y);
	/* y = (x - mean) / sqrt(var + epsilon) * scale + bias (NULL: 0) of each row; mean, inverse:
	 * [rows] what was taken, or NULL. */
	void (*layer_norm)(int64_t rows, int64_t n, const float *x, const float *scale,
			   const float *bias, float epsilon, float *y, float *mean, float *inverse);
	/* Of each row of n; y may be x. */
	void (*softmax)(int64_t rows, int64_t n, const float *x, float *y, bool log);
	/* dx from dy and the forward result y, of softmax or (log) of its logarithm. */
	void (*softmax_grad)(int64_t rows, int64_t n, const float *dy, const float *y, float *dx,
			     bool log);
	/* [rows][cols] -> [cols][rows] */
	void (*transpose)(int64_t rows, int64_t cols, const float *x, int64_t x_row, float *y,
			  int64_t y_row);
	/* Images lo to hi. */
	void (*max_pool)(const pai_pool *w, int64_t lo, int64_t hi, const float *x, float *y);
	/* mask: the gradient passes only where y > 0. */
	void (*max_pool_grad)(const pai_pool *w, int64_t lo, int64_t hi, const float *x,
			      const float *y, const float *dy, float *dx, bool mask);
	/* Rows lo to hi of the output, counted over all images: each channel with its own window of
	 * weights [kernel_h, kernel_w, channels]. bias may be NULL. */
	void (*depthwise)(const pai_pool *w, int64_t lo, int64_t hi, const float *x,
			  const float *weights, const float *bias, bool relu, float *y);
	void (*average_pool)(const pai_pool *w, int64_t lo, int64_t hi, const float *x, float *y);
	void (*average_pool_grad)(const pai_pool *w, int64_t lo, int64_t hi, const float *dy,
				  float *dx);
} pai_own;

extern const pai_own pai_own_generic, pai_own_avx2;

const pai_own *pai_own_pick(void); /* the best for this machine */

#endif
