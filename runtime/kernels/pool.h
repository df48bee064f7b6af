/* pool.h -- the walk over the windows of a pool, shared by pool.c and lp_pool.c.
 *
 * Values are taken as double, which holds every type a pool accepts exactly, so one loop serves all
 * types.
 */
#ifndef PAI_POOL_H
#define PAI_POOL_H

#include "runtime/kernels/window.h"

typedef struct pai_pool_area { /* the part of one window that lies in the image */
	const pai_window *w;
	int64_t first[PAI_MAX_RANK],
		count[PAI_MAX_RANK]; /* image index and number along each axis */
	int64_t n;                   /* product of count */
} pai_pool_area;

/* Row-major image index of each element of the window in turn. */
typedef struct pai_walk {
	int64_t k[PAI_MAX_RANK], at;
} pai_walk;

/* Contents of an input, and an element of an output, as double. */
PAI_MUST_USE pai_status pai_pool_values(pai_call *c, int input, double **out);
void pai_pool_store(pai_tensor *t, int64_t i, double v);

/* The windows of a pool over [N, C, spatial...]; the whole image where there is no kernel_shape. */
PAI_MUST_USE pai_status pai_pool_window(pai_call *c, int rank, const int64_t *dims, pai_window *w);
/* [N, C, grid...] */
void pai_pool_dims(const int64_t *dims, const pai_window *w, int64_t *out);
/* What pools begin with: the windows over input 0, output 0 of the sizes out[], values of the
 * input.
 */
PAI_MUST_USE pai_status pai_pool_begin(pai_call *c, pai_window *w, int64_t *out, double **values);
/* Part of the window of a grid element that lies in the image; n is 0 where none does. */
void pai_pool_part(const pai_window *w, const int64_t *grid, pai_pool_area *p);
pai_walk pai_walk_start(const pai_pool_area *p);
void pai_walk_next(const pai_pool_area *p, pai_walk *s);
void pai_pool_next(const pai_window *w, int64_t *grid);

/* Elements under all windows of a pool, and of the adjoints whose dY is input 0 and input 2. */
double pai_pool_work(const pai_node *n, const pai_tensor *const *in, const pai_tensor *const *out);
double pai_pool_work_0(const pai_node *n, const pai_tensor *const *in,
		       const pai_tensor *const *out);
double pai_pool_work_2(const pai_node *n, const pai_tensor *const *in,
		       const pai_tensor *const *out);

/* What adjoints begin with: output 0 of these dims, its zero sums as double, and dY (an input)
 * checked against the windows; and end with. */
PAI_MUST_USE pai_status pai_pool_adjoint(pai_call *c, pai_dtype dtype, int rank,
					 const int64_t *dims, int dy, pai_window *w, double **sum);
void pai_pool_finish(pai_tensor *t, const double *v);

#endif
