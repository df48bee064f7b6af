/* conv.c -- Conv, ConvTranspose and the two adjoints of Conv. The numbers are made in conv_core.c;
 * ConvTranspose is the adjoint of Conv with respect to its image, so all four share one geometry.
 */
#include "runtime/kernels/window.h"
#include <string.h>

/* Checks that what the kernel indexes by is there: ranks, types, group divisibility. */
static pai_status check_operands(pai_call *c, const pai_tensor *x, int rank, int w_slot)
{
	const pai_tensor *w = c->in[w_slot];
	if (w->rank != rank || x->rank != rank || rank < 3)
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_input(c->node, w_slot),
				"has rank %d, the data has rank %d; expected the same, at least 3",
				w->rank, x->rank);
	if (w->dtype != x->dtype)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, w_slot),
				"is %s, the data is %s", pai_dtype_get(w->dtype)->text,
				pai_dtype_get(x->dtype)->text);
	return PAI_OK;
}

/* groups divide both sides, and each filter sees channels / groups. w0, w1: first dims of W. */
static pai_status check_channels(pai_call *c, pai_conv *v, int64_t w0, int64_t w1)
{
	v->groups = pai_node_int(c->node, "group", 1);
	if (v->groups < 1 || v->channels % v->groups || v->filters % v->groups ||
	    w0 != v->filters || w1 != v->channels / v->groups)
		return pai_fail(
			c->ctx, PAI_E_bad_window, pai_at_node(c->node),
			"weights [%lld,%lld,...] do not fit %lld channels on the one side and "
			"%lld on the other in %lld groups",
			(long long)w0, (long long)w1, (long long)v->channels, (long long)v->filters,
			(long long)v->groups);
	return PAI_OK;
}

#define ADD_BIAS(T)                                                                               \
	static void add_bias_##T(T *y, const T *bias, int64_t batch, int64_t channels, int64_t n) \
	{                                                                                         \
		for (int64_t i = 0; i < batch * channels; i++)                                    \
			for (int64_t j = 0; j < n; j++)                                           \
				*y++ += bias[i % channels];                                       \
	}

ADD_BIAS(float)
ADD_BIAS(double)

static pai_status bias(pai_call *c, void *y, int64_t batch, int64_t channels, int64_t n)
{
	const pai_tensor *b = c->n_in > 2 ? c->in[2] : NULL;
	if (!b)
		return PAI_OK;
	if (b->dtype != c->in[0]->dtype || pai_tensor_nelem(b) != channels)
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_input(c->node, 2),
				"has %lld elements of %s, expected %lld of the data's type",
				(long long)pai_tensor_nelem(b), pai_dtype_get(b->dtype)->text,
				(long long)channels);
	const void *from = NULL;
	PAI_TRY(pai_widen(c, 2, &from));
	if (pai_wide(b->dtype) == PAI_FLOAT)
		add_bias_float(y, from, batch, channels, n);
	else
		add_bias_double(y, from, batch, channels, n);
	return PAI_OK;
}

/* [first, second, spatial...] */
static void with_spatial(int64_t *dims, int64_t first, int64_t second, const int64_t *spatial,
			 int n)
{
	dims[0] = first;
	dims[1] = second;
	for (int i = 0; i < n; i++)
		dims[2 + i] = spatial[i];
}

typedef void (*conv_fn)(const pai_conv *v, const void *a, const void *b, void *out);

/* The common end: prepare, widen both operands, compute, bias, narrow. */
static pai_status compute(pai_call *c, pai_conv *v, const int64_t *dims, conv_fn fn, bool has_bias)
{
	PAI_TRY(pai_call_output(c, 0, c->in[0]->dtype, v->w.rank + 2, dims));
	v->dtype = pai_wide(c->in[0]->dtype);
	PAI_TRY(pai_conv_prepare(c, v));
	const void *a = NULL, *b = NULL;
	void *y = NULL;
	PAI_TRY(pai_widen(c, 0, &a));
	PAI_TRY(pai_widen(c, 1, &b));
	PAI_TRY(pai_wide_output(c, 0, &y));
	if (pai_tensor_nelem(c->out[0]) == 0)
		return PAI_OK;
	fn(v, a, b, y);
	if (has_bias)
		PAI_TRY(bias(c, y, dims[0], dims[1],
			     pai_tensor_nelem(c->out[0]) / (dims[0] * dims[1])));
	pai_narrow(c, 0, y);
	return PAI_OK;
}

/* X [N, C, d...], W [M, C/g, k...] -> Y [N, M, o...] */
static pai_status conv(pai_call *c)
{
	const pai_tensor *x = c->in[0], *w = c->in[1];
	PAI_TRY(check_operands(c, x, x->rank, 1));
	pai_conv v = {.batch = x->dims[0], .channels = x->dims[1], .filters = w->dims[0]};
	PAI_TRY(check_channels(c, &v, w->dims[0], w->dims[1]));
	PAI_TRY(pai_window_over(c, x->rank - 2, x->dims + 2, w->dims + 2, &v.w));
	int64_t dims[PAI_MAX_RANK];
	with_spatial(dims, v.batch, v.filters, v.w.grid, v.w.rank);
	return compute(c, &v, dims, pai_conv_forward, true);
}

const pai_kernel pai_kernel_conv = {.run = conv};

/* X [N, C, o...], W [C, M/g, k...] -> Y [N, M, d...] */
static pai_status conv_transpose(pai_call *c)
{
	const pai_tensor *x = c->in[0], *w = c->in[1];
	PAI_TRY(check_operands(c, x, x->rank, 1));
	int64_t groups = pai_node_int(c->node, "group", 1);
	pai_conv v = {.batch = x->dims[0], .filters = x->dims[1]};
	if (groups < 1 || __builtin_mul_overflow(w->dims[1], groups, &v.channels))
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_attr(c->node, "group"), "is %lld",
				(long long)groups);
	PAI_TRY(check_channels(c, &v, w->dims[0], w->dims[1]));
	PAI_TRY(pai_window_under(c, x->rank - 2, x->dims + 2, w->dims + 2, &v.w));
	int64_t dims[PAI_MAX_RANK];
	with_spatial(dims, v.batch, v.channels, v.w.image, v.w.rank);
	return compute(c, &v, dims, pai_conv_image, true);
}

const pai_kernel pai_kernel_conv_transpose = {.run = conv_transpose};

/* The geometry of the forward Conv from the shapes of its image, weights and grid. */
static pai_status forward_geometry(pai_call *c, int rank, const int64_t *image,
				   const int64_t *weights, const pai_tensor *grid, pai_conv *v)
{
	*v = (pai_conv){.batch = image[0], .channels = image[1], .filters = weights[0]};
	PAI_TRY(check_channels(c, v, weights[0], weights[1]));
	PAI_TRY(pai_window_over(c, rank - 2, image + 2, weights + 2, &v->w));
	bool fits = grid->rank == rank && grid->dims[0] == v->batch && grid->dims[1] == v->filters;
	for (int i = 2; fits && i < rank; i++)
		fits = grid->dims[i] == v->w.grid[i - 2];
	if (!fits)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not shaped as the output of the convolution");
	return PAI_OK;
}

/* dY, W, shape of X -> dX */
static pai_status conv_grad_x(pai_call *c)
{
	pai_int_list shape;
	pai_conv v;
	PAI_TRY(pai_call_ints(c, "shape", 2, &shape));
	PAI_TRY(check_operands(c, c->in[0], shape.n, 1));
	PAI_TRY(forward_geometry(c, shape.n, shape.at, c->in[1]->dims, c->in[0], &v));
	return compute(c, &v, shape.at, pai_conv_image, false);
}

const pai_kernel pai_kernel_conv_grad_x = {.run = conv_grad_x};

/* dY, X, shape of W -> dW */
static pai_status conv_grad_w(pai_call *c)
{
	pai_int_list shape;
	pai_conv v;
	PAI_TRY(pai_call_ints(c, "shape", 2, &shape));
	PAI_TRY(check_operands(c, c->in[0], shape.n, 1));
	PAI_TRY(forward_geometry(c, shape.n, c->in[1]->dims, shape.at, c->in[0], &v));
	return compute(c, &v, shape.at, pai_conv_weights, false);
}

const pai_kernel pai_kernel_conv_grad_w = {.run = conv_grad_w};
