/* conv.c -- Conv, ConvTranspose and the two adjoints of Conv. The numbers are made in conv_core.c;
 * ConvTranspose is the adjoint of Conv with respect to its image, so all four share one geometry.
 */
#include "runtime/kernels/grad.h"
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

/* Elements of one filter, or of all that one channel of the input goes into. */
static double per_channel(const pai_tensor *w)
{
	return w && w->rank > 0 && w->dims[0] > 0 ? pai_elements(w) / (double)w->dims[0] : 0;
}

static double conv_work(const pai_node *n, const pai_tensor *const *in,
			const pai_tensor *const *out)
{
	(void)n;
	return pai_elements(out[0]) * per_channel(in[1]);
}

/* X or dY against W */
static double transposed_work(const pai_node *n, const pai_tensor *const *in,
			      const pai_tensor *const *out)
{
	(void)n, (void)out;
	return pai_elements(in[0]) * per_channel(in[1]);
}

/* dY against the window of each element, of the size of dW */
static double grad_w_work(const pai_node *n, const pai_tensor *const *in,
			  const pai_tensor *const *out)
{
	(void)n;
	return pai_elements(in[0]) * per_channel(out[0]);
}

const pai_kernel pai_kernel_conv = {.run = conv, .work = conv_work};

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

const pai_kernel pai_kernel_conv_transpose = {.run = conv_transpose, .work = transposed_work};

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

const pai_kernel pai_kernel_conv_grad_x = {.run = conv_grad_x, .work = transposed_work};

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

const pai_kernel pai_kernel_conv_grad_w = {.run = conv_grad_w, .work = grad_w_work};

/* Sum over everything but the channels. */
static pai_status bias_grad(pai_grad *g, const pai_node *n, pai_value *dy, pai_value **out)
{
	int rank;
	int64_t axes[PAI_MAX_RANK] = {0};
	PAI_TRY(pai_grad_rank(g, n, n->in[1], &rank));
	for (int i = 2; i < rank; i++)
		axes[i - 1] = i;
	pai_patch *p = pai_grad_patch(g);
	*out = PAI_OP2(p, "ReduceSum", "grad", dy, pai_grad_ints(g, n, rank - 1, axes));
	pai_patch_set_int(p, (*out)->producer, "keepdims", 0);
	return PAI_OK;
}

/* dX = adjoint over the image, dW = adjoint over the weights (see internal.def), dB = sum of dY */
pai_status pai_grad_conv(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_value *x = n->in[0], *w = n->in[1];
	if (pai_grad_wanted(g, n, 0))
		dx[0] = pai_grad_internal(g, "ConvGradX", 3,
					  (pai_value *[]){dy[0], w, pai_grad_shape(g, n, x)}, n);
	if (pai_grad_wanted(g, n, 1))
		dx[1] = pai_grad_internal(g, "ConvGradW", 3,
					  (pai_value *[]){dy[0], x, pai_grad_shape(g, n, w)}, n);
	if (pai_node_in(n, 2) && pai_grad_wanted(g, n, 2))
		PAI_TRY(bias_grad(g, n, dy[0], &dx[2]));
	return PAI_OK;
}

/* The attributes of the Conv whose adjoint a ConvTranspose is: pads spelled out, and shortened at
 * the end by the output padding where that would make room for another window. */
static pai_status adjoint_attributes(pai_grad *g, const pai_node *n, pai_node *to)
{
	pai_patch *p = pai_grad_patch(g);
	pai_ctx *ctx = n->graph->model->ctx;
	const pai_type *x = &n->in[0]->type, *y = &n->out[0]->type, *w = &n->in[1]->type;
	const int64_t *stride, *dilation, *more, *pads, *shape;
	int rank, has_stride = pai_node_ints(n, "strides", &stride);
	PAI_TRY(pai_grad_rank(g, n, n->in[1], &rank));
	rank -= 2;
	int has_dilation = pai_node_ints(n, "dilations", &dilation);
	int has_more = pai_node_ints(n, "output_padding", &more);
	int has_pads = pai_node_ints(n, "pads", &pads);
	const char *mode = pai_node_string(n, "auto_pad", "NOTSET");
	bool same = strncmp(mode, "SAME", 4) == 0;
	bool by_shape = pai_node_ints(n, "output_shape", &shape) > 0;
	int64_t out[2 * PAI_MAX_RANK];
	for (int i = 0; i < rank; i++) {
		int64_t s = has_stride > i ? stride[i] : 1, extra = has_more > i ? more[i] : 0;
		int64_t d = has_dilation > i ? dilation[i] : 1, begin = 0, end = 0;
		bool known = w->dims[2 + i] >= 0 &&
			     (!by_shape || (x->rank == rank + 2 && y->rank == rank + 2 &&
					    x->dims[2 + i] >= 0 && y->dims[2 + i] >= 0));
		if (!known)
			return pai_fail(ctx, PAI_E_no_gradient, pai_at_node(n),
					"the sizes its padding follows from are not known");
		int64_t extent = (w->dims[2 + i] - 1) * d + 1, total = extent + extra - s;
		if (by_shape)
			total += x->dims[2 + i] * s - y->dims[2 + i];
		if (same || by_shape) {
			int64_t some = total > 0 ? total : 0;
			begin = strcmp(mode, "SAME_UPPER") == 0 ? some / 2 : some - some / 2;
			end = total - begin;
		} else if (strcmp(mode, "VALID") != 0 && has_pads == 2 * rank) {
			begin = pads[i];
			end = pads[rank + i];
		}
		out[i] = begin;
		out[rank + i] = extra >= s ? end - extra : end;
	}
	pai_patch_set_ints(p, to, "pads", 2 * rank, out);
	if (has_stride == rank)
		pai_patch_set_ints(p, to, "strides", rank, stride);
	if (has_dilation == rank)
		pai_patch_set_ints(p, to, "dilations", rank, dilation);
	pai_patch_set_int(p, to, "group", pai_node_int(n, "group", 1));
	return PAI_OK;
}

/* ConvTranspose is the adjoint of a Conv over its image, so dX is that Conv of dY, and dW its
 * adjoint over the weights with X in the place of the Conv's output. */
pai_status pai_grad_conv_transpose(pai_grad *g, const pai_node *n, pai_value *const *dy,
				   pai_value **dx)
{
	pai_value *x = n->in[0], *w = n->in[1];
	if (pai_grad_wanted(g, n, 0)) {
		dx[0] = PAI_OP2(pai_grad_patch(g), "Conv", "grad", dy[0], w);
		PAI_TRY(adjoint_attributes(g, n, dx[0]->producer));
	}
	if (pai_grad_wanted(g, n, 1)) {
		dx[1] = pai_grad_internal(g, "ConvGradW", 3,
					  (pai_value *[]){x, dy[0], pai_grad_shape(g, n, w)}, NULL);
		PAI_TRY(adjoint_attributes(g, n, dx[1]->producer));
	}
	if (pai_node_in(n, 2) && pai_grad_wanted(g, n, 2))
		PAI_TRY(bias_grad(g, n, dy[0], &dx[2]));
	return PAI_OK;
}
