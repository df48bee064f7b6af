/* conv.c -- Conv, ConvTranspose and their gradients, channels last: the builders.
 *
 * A builder describes its convolution, looks for what the sums can do on the way (bias, Relu; the
 * gradient with respect to the weights yields that of the bias), and chooses: oneDNN (conv_dnn.c)
 * where the plan has enough work to be worth starting it, else our own product (conv_own.c).
 *
 * A residual Add is left to its own step: oneDNN would start its sums from the addend, which rounds
 * otherwise than adding to what Conv gives, and a branch beside the Conv would change its bits.
 */
#include "runtime/fast/conv.h"
#include "runtime/kernels/window.h"
#include <string.h>

enum { /* multiply-adds in a plan for which oneDNN is started */
       ENOUGH_WORK = 2000000,
       OFTEN_WORK = 500000, /* ... where it will run often */
};

/* Axes of size 1 on all sides are no axes: implementations take windows along the last axis at a
 * time, which must not be such a one. */
static void drop_axes(pai_dnn_conv *d)
{
	int n = 0;
	for (int i = 0; i < d->n_space; i++) {
		if (d->in[i] == 1 && d->out[i] == 1 && d->kernel[i] == 1 &&
		    (n || i + 1 < d->n_space))
			continue;
		int64_t *of[] = {d->in,       d->out,       d->kernel, d->stride,
				 d->dilation, d->pad_begin, d->pad_end};
		for (int k = 0; k < 7; k++)
			of[k][n] = of[k][i];
		n++;
	}
	d->n_space = n;
}

/* From windows over an image; weights [channels of the grid, channels of the image, kernel]. */
static bool set_geometry(const pai_unit *u, const pai_tensor *image, const pai_tensor *weights,
			 const pai_window *w, pai_dnn_conv *d)
{
	int n = image->rank - 2;
	d->n_space = n;
	d->batch = image->dims[0];
	d->groups = pai_node_int(u->node, "group", 1);
	d->in_channels = image->dims[1];
	d->out_channels = weights->dims[0];
	bool fits = d->batch > 0 && d->in_channels > 0 && d->out_channels > 0 && d->groups > 0 &&
		    d->in_channels == weights->dims[1] * d->groups &&
		    d->out_channels % d->groups == 0;
	for (int i = 0; i < n; i++) {
		d->in[i] = image->dims[i + 2];
		d->out[i] = w->grid[i];
		d->kernel[i] = weights->dims[i + 2];
		d->stride[i] = w->stride[i];
		d->dilation[i] = w->dilation[i];
		d->pad_begin[i] = w->begin[i];
		/* The end pad may be more than the windows need; oneDNN wants the exact one. */
		int64_t extent = (d->kernel[i] - 1) * d->dilation[i] + 1;
		d->pad_end[i] =
			(d->out[i] - 1) * d->stride[i] + extent - d->in[i] - d->pad_begin[i];
		fits &= d->in[i] > 0 && d->out[i] > 0 && d->kernel[i] > 0;
	}
	if (fits)
		drop_axes(d);
	return fits;
}

static bool has_space(const pai_tensor *image, const pai_tensor *weights)
{
	return image->rank >= 3 && image->rank <= 5 && weights->rank == image->rank;
}

/* The convolution of a unit from its node's attributes and the shapes of its image and weights. */
static pai_status describe(pai_plan *p, const pai_unit *u, const pai_tensor *image,
			   const pai_tensor *weights, pai_dnn_conv *d, bool *fits)
{
	pai_call call = {.ctx = p->ctx, .node = u->node};
	pai_window w;
	*fits = has_space(image, weights);
	if (!*fits)
		return PAI_OK;
	PAI_TRY(pai_window_over(&call, image->rank - 2, image->dims + 2, weights->dims + 2, &w));
	*fits = set_geometry(u, image, weights, &w, d);
	return PAI_OK;
}

double pai_conv_work(const pai_dnn_conv *d)
{
	double n = (double)d->batch * (double)d->in_channels * (double)d->out_channels /
		   (double)d->groups;
	for (int i = 0; i < d->n_space; i++)
		n *= (double)d->out[i] * (double)d->kernel[i];
	return n;
}

void pai_conv_operands(const pai_conv_task *t, pai_slot **in, int *n_in, pai_slot **out, int *n_out)
{
	pai_slot *of[] = {t->image, t->weights, t->bias, t->grid};
	bool writes[][4] = {
		[PAI_DNN_FORWARD] = {[PAI_DNN_DST] = true},
		[PAI_DNN_BACKWARD_DATA] = {[PAI_DNN_SRC] = true},
		[PAI_DNN_BACKWARD_WEIGHTS] = {[PAI_DNN_WEIGHTS] = true, [PAI_DNN_BIAS] = true}};
	*n_in = *n_out = 0;
	for (int a = 0; a < 4; a++)
		if (of[a])
			*(writes[t->d.kind][a] ? &out[(*n_out)++] : &in[(*n_in)++]) = of[a];
}

pai_step_info pai_conv_info(const pai_conv_task *t, const char *impl)
{
	return (pai_step_info){.node = t->unit->node,
			       .name = t->name,
			       .impl = impl,
			       .flops = 2 * pai_conv_work(&t->d)};
}

/* oneDNN's primitive where it is the better choice, or the only one; else NULL. */
static pai_status choose(pai_plan *p, const pai_dnn_conv *d, pai_dnn_op **op)
{
	*op = NULL;
	if (p->options.no_onednn ||
	    (p->work < (p->options.often ? OFTEN_WORK : ENOUGH_WORK) && pai_conv_own_can(d)))
		return PAI_OK;
	PAI_TRY(pai_dnn_conv_new(p, d, op));
	/* Its fallback writes out the windows of whole images. */
	if (*op && pai_conv_own_can(d) && d->kind == PAI_DNN_FORWARD &&
	    strstr(pai_dnn_impl(*op), "gemm"))
		*op = NULL;
	return PAI_OK;
}

static pai_status emit_task(pai_plan *p, const pai_conv_task *t, pai_dnn_op *op)
{
	return op ? pai_conv_emit_dnn(p, t, op) : pai_conv_emit_own(p, t);
}

pai_status pai_fast_conv(pai_plan *p, pai_unit *u, bool *taken)
{
	pai_conv_task t = {.d = {.kind = PAI_DNN_FORWARD}, .unit = u};
	bool fits;
	if (!pai_unit_is(u, PAI_FLOAT))
		return PAI_OK;
	PAI_TRY(describe(p, u, &u->in[0]->tensor, &u->in[1]->tensor, &t.d, &fits));
	if (!fits)
		return PAI_OK;
	t.bias = u->n_in > 2 ? u->in[2] : NULL;
	t.d.bias = t.bias != NULL;
	pai_slot *y = u->out[0];
	pai_unit *relu = pai_following_relu(y);
	t.d.relu = relu != NULL;
	t.name = relu ? "Conv+Relu" : "Conv";
	pai_dnn_op *op;
	PAI_TRY(choose(p, &t.d, &op));
	if (!op && !pai_conv_own_can(&t.d))
		return PAI_OK;
	*taken = true;
	if (relu) {
		relu->dead = true;
		y = relu->out[0];
	}
	t.image = pai_slot_in(p, u->in[0], true);
	t.grid = pai_slot_out(p, y, true);
	t.weights = pai_slot_in(p, u->in[1], false);
	PAI_TRY(emit_task(p, &t, op));
	pai_slot_done(p, y, t.grid);
	return PAI_OK;
}

typedef struct bias_step {
	const pai_own *own;
	const pai_tensor *y, *bias;
	int threads;
} bias_step;

static void bias_rows(void *args, int64_t lo, int64_t hi, int thread)
{
	const bias_step *s = args;
	int64_t n = pai_tensor_nelem(s->bias);
	(void)thread;
	for (int64_t i = lo; i < hi; i++) {
		float *row = (float *)s->y->data + i * n;
		s->own->zip(PAI_ZIP_ADD, n, row, 1, s->bias->data, 1, row);
	}
}

static pai_status run_bias(void *args, pai_run *run)
{
	bias_step *s = args;
	(void)run;
	pai_parallel(s->threads, pai_tensor_nelem(s->y) / pai_tensor_nelem(s->bias), bias_rows, s);
	return PAI_OK;
}

/* Adds to each channel of y, channels last, in place. */
static void emit_bias(pai_plan *p, const pai_unit *u, pai_slot *y, pai_slot *bias)
{
	bias_step *s = PAI_NEW(p->arena, bias_step);
	*s = (bias_step){p->own, &y->tensor, &bias->tensor,
			 pai_step_threads(p, (double)pai_tensor_nelem(&y->tensor))};
	pai_step_info info = {.node = u->node, .name = "bias", .impl = p->own->name};
	pai_plan_emit(p, (pai_step){run_bias, s}, info, 2, (pai_slot *[]){y, bias}, 1, &y);
}

/* The image from the grid: a gradient, or ConvTranspose. */
static pai_status emit_image(pai_plan *p, pai_unit *u, const pai_dnn_conv *d, pai_slot *grid,
			     pai_slot *bias, bool *taken)
{
	pai_dnn_op *op;
	pai_slot *image = u->out[0];
	PAI_TRY(choose(p, d, &op));
	if (!op && !pai_conv_own_can(d))
		return PAI_OK;
	*taken = true;
	pai_conv_task t = {.d = *d, .unit = u, .name = u->node->op_type};
	t.grid = pai_slot_in(p, grid, true);
	t.weights = pai_slot_in(p, u->in[1], false); /* may be the result of a convolution */
	t.image = pai_slot_out(p, image, true);
	PAI_TRY(emit_task(p, &t, op));
	if (bias)
		emit_bias(p, u, t.image, bias);
	pai_slot_done(p, image, t.image);
	return PAI_OK;
}

/* Describes the gradient of a Conv from its operands: dY, and the other of weights and image. */
static pai_status describe_grad(pai_plan *p, const pai_unit *u, const pai_tensor *image,
				const pai_tensor *weights, pai_dnn_conv *d, bool *fits)
{
	*fits = !u->dynamic && u->in[0]->place != PAI_IN_BUFFER &&
		u->in[1]->place != PAI_IN_BUFFER && u->in[0]->tensor.dtype == PAI_FLOAT;
	return *fits ? describe(p, u, image, weights, d, fits) : PAI_OK;
}

pai_status pai_fast_conv_grad_x(pai_plan *p, pai_unit *u, bool *taken)
{
	pai_dnn_conv d = {.kind = PAI_DNN_BACKWARD_DATA};
	bool fits;
	PAI_TRY(describe_grad(p, u, &u->out[0]->tensor, &u->in[1]->tensor, &d, &fits));
	return fits ? emit_image(p, u, &d, u->in[0], NULL, taken) : PAI_OK;
}

/* The windows of a ConvTranspose lie over its result. */
pai_status pai_fast_conv_transpose(pai_plan *p, pai_unit *u, bool *taken)
{
	pai_dnn_conv d = {.kind = PAI_DNN_BACKWARD_DATA};
	if (!pai_unit_is(u, PAI_FLOAT) || u->n_in < 2 || !u->in[0] || !u->in[1] || !u->out[0] ||
	    !has_space(&u->in[0]->tensor, &u->in[1]->tensor))
		return PAI_OK;
	const pai_tensor *x = &u->in[0]->tensor, *w = &u->in[1]->tensor, *y = &u->out[0]->tensor;
	pai_call call = {.ctx = p->ctx, .node = u->node};
	pai_window window;
	PAI_TRY(pai_window_under(&call, x->rank - 2, x->dims + 2, w->dims + 2, &window));
	bool fits = x->dims[0] == y->dims[0] && x->dims[1] == w->dims[0] &&
		    set_geometry(u, y, w, &window, &d);
	for (int i = 2; fits && i < x->rank; i++)
		fits = window.grid[i - 2] == x->dims[i] && window.image[i - 2] == y->dims[i];
	pai_slot *bias = u->n_in > 2 ? u->in[2] : NULL;
	return fits ? emit_image(p, u, &d, u->in[0], bias, taken) : PAI_OK;
}

/* The sum of dY over all but channels, taken elsewhere in the plan: the gradient of the bias. */
static pai_unit *bias_sum(pai_plan *p, const pai_slot *dy)
{
	for (int i = 0; i < p->units.n; i++) {
		pai_unit *u = p->units.at[i];
		if (u->dead || u->dynamic || !u->n_in || u->in[0] != dy || !u->out[0] ||
		    !pai_unit_sums_to_channels(u))
			continue;
		return u;
	}
	return NULL;
}

pai_status pai_fast_conv_grad_w(pai_plan *p, pai_unit *u, bool *taken)
{
	pai_conv_task t = {
		.d = {.kind = PAI_DNN_BACKWARD_WEIGHTS}, .unit = u, .weights = u->out[0]};
	pai_slot *dy = u->in[0], *x = u->in[1];
	bool fits;
	PAI_TRY(describe_grad(p, u, &x->tensor, &t.weights->tensor, &t.d, &fits));
	if (!fits)
		return PAI_OK;
	pai_unit *sum = bias_sum(p, dy);
	t.bias = sum && sum->out[0]->first < 0 ? sum->out[0] : NULL;
	t.d.bias = t.bias != NULL;
	pai_dnn_op *op;
	PAI_TRY(choose(p, &t.d, &op));
	if (!op && !pai_conv_own_can(&t.d))
		return PAI_OK;
	*taken = true;
	if (t.bias)
		sum->dead = true;
	t.name = t.bias ? "ConvGradW+bias" : "ConvGradW";
	t.grid = pai_slot_in(p, dy, true);
	t.image = pai_slot_in(p, x, true);
	return emit_task(p, &t, op);
}
