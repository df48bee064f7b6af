/* conv.c -- Conv and its two gradients, channels last.
 *
 * oneDNN computes where the plan has enough work to be worth starting it; else the windows are
 * gathered into a matrix and multiplied by our own product. Either way weights are brought into the
 * order the implementation wants, once where they are constant, and Relu is done on the sums. The
 * gradient with respect to the weights yields that of the bias as well.
 */
#include "runtime/fast/fast.h"
#include "runtime/kernels/window.h"
#include "runtime/onednn.h"
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

static double work_of(const pai_dnn_conv *d)
{
	double n = (double)d->batch * (double)d->in_channels * (double)d->out_channels /
		   (double)d->groups;
	for (int i = 0; i < d->n_space; i++)
		n *= (double)d->out[i] * (double)d->kernel[i];
	return n;
}

/* ---- by oneDNN ---- */

/* The weights in the format of the primitive: made now where they are constant. */
static pai_status weights_for(pai_plan *p, pai_dnn_op *op, pai_slot *w, pai_slot **out)
{
	pai_dnn_op *reorder;
	PAI_TRY(pai_dnn_weights_new(p, op, false, &reorder));
	*out = w;
	if (!reorder)
		return PAI_OK;
	bool constant = w->place == PAI_IN_CONST;
	size_t nbytes = pai_dnn_bytes(op, PAI_DNN_WEIGHTS),
	       room = pai_dnn_bytes(reorder, PAI_DNN_SCRATCH);
	pai_slot *to[] = {pai_slot_temp(p, nbytes), room ? pai_slot_temp(p, room) : NULL};
	*out = to[0];
	pai_dnn_bind(reorder, PAI_DNN_SRC, &w->tensor);
	pai_dnn_bind(reorder, PAI_DNN_DST, &to[0]->tensor);
	if (room)
		pai_dnn_bind(reorder, PAI_DNN_SCRATCH, &to[1]->tensor);
	if (constant) {
		to[0]->place = PAI_IN_CONST;
		to[0]->tensor.data = pai_arena_bulk(p->arena, nbytes);
		if (room)
			to[1]->tensor.data = pai_run_scratch(&p->run, room);
		if (!to[0]->tensor.data || (room && !to[1]->tensor.data))
			return pai_fail(p->ctx, PAI_E_memory, pai_at_nothing(),
					"no memory for weights");
		return pai_dnn_run(reorder, &p->run);
	}
	pai_step_info info = {.name = "reorder weights",
			      .impl = pai_dnn_impl(reorder),
			      .bytes = 2.0 * (double)nbytes};
	pai_plan_emit(p, (pai_step){pai_dnn_run, reorder}, info, 1, &w, 2, to);
	return PAI_OK;
}

static pai_slot *scratch_for(pai_plan *p, pai_dnn_op *op)
{
	size_t n = pai_dnn_bytes(op, PAI_DNN_SCRATCH);
	pai_slot *s = n ? pai_slot_temp(p, n) : NULL;
	if (s)
		pai_dnn_bind(op, PAI_DNN_SCRATCH, &s->tensor);
	return s;
}

/* The step of a primitive. x and y are the image and grid of the convolution, whichever way it is
 * computed; w is in the format of the primitive. */
static void emit_dnn(pai_plan *p, const pai_unit *u, const pai_dnn_conv *d, pai_dnn_op *op,
		     pai_slot *x, pai_slot *w, pai_slot *bias, pai_slot *y, const char *name)
{
	pai_slot *of[] = {x, w, bias, y}, *in[4], *out[4];
	int n_in = 0, n_out = 0;
	for (int a = 0; a < 4; a++) {
		bool writes = d->kind == PAI_DNN_FORWARD ? a == PAI_DNN_DST
			      : d->kind == PAI_DNN_BACKWARD_DATA
				      ? a == PAI_DNN_SRC
				      : a == PAI_DNN_WEIGHTS || a == PAI_DNN_BIAS;
		if (!of[a])
			continue;
		pai_dnn_bind(op, (pai_dnn_arg)a, &of[a]->tensor);
		*(writes ? &out[n_out++] : &in[n_in++]) = of[a];
	}
	out[n_out++] = scratch_for(p, op);
	pai_step_info info = {
		.node = u->node, .name = name, .impl = pai_dnn_impl(op), .flops = 2 * work_of(d)};
	pai_plan_emit(p, (pai_step){pai_dnn_run, op}, info, n_in, in, n_out, out);
}

/* ---- by our own product ---- */

typedef struct conv_step {
	const pai_own *own;
	pai_dnn_conv d;
	const pai_tensor *x, *weights, *bias, *y, *columns, *packed, *scratch;
	int64_t k, places;     /* elements of a window; windows of an image */
	int64_t block, blocks; /* windows gathered at a time; such blocks of an image */
	bool constant;         /* the packed weights are there already */
	int threads;
} conv_step;

enum { COLUMNS = 1 << 16 }; /* floats of windows gathered at a time, about */

typedef struct plane { /* the one or two axes of a convolution, as two */
	int64_t h, w, kh, kw, ow, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
} plane;

static plane plane_of(const pai_dnn_conv *d)
{
	int v = d->n_space - 1;
	plane g = {.h = 1,
		   .kh = 1,
		   .stride_h = 1,
		   .dilation_h = 1,
		   .w = d->in[v],
		   .kw = d->kernel[v],
		   .ow = d->out[v],
		   .stride_w = d->stride[v],
		   .dilation_w = d->dilation[v],
		   .pad_w = d->pad_begin[v]};
	if (v > 0) {
		g.h = d->in[0];
		g.kh = d->kernel[0];
		g.stride_h = d->stride[0];
		g.dilation_h = d->dilation[0];
		g.pad_h = d->pad_begin[0];
	}
	return g;
}

/* Windows lo to hi of an image, [hi - lo, kernel..., channels], from channels-last contents. */
static void gather(const pai_dnn_conv *d, const float *x, int64_t lo, int64_t hi, float *to)
{
	const plane g = plane_of(d);
	int64_t c = d->in_channels, line = g.kw * c, down = lo / g.ow, along = lo % g.ow;
	for (int64_t at = lo; at < hi; at++) {
		int64_t s = along * g.stride_w - g.pad_w;
		bool whole = g.dilation_w == 1 && s >= 0 && s + g.kw <= g.w;
		for (int64_t i = 0; i < g.kh; i++, to += line) {
			int64_t r = down * g.stride_h + i * g.dilation_h - g.pad_h;
			bool in = r >= 0 && r < g.h;
			const float *row = in ? x + (r * g.w + s) * c : NULL;
			if (in && whole) {
				for (int64_t e = 0; e < line; e++)
					to[e] = row[e];
				continue;
			}
			for (int64_t j = 0; j < g.kw; j++) {
				int64_t q = s + j * g.dilation_w;
				for (int64_t e = 0; e < c; e++)
					to[j * c + e] = in && q >= 0 && q < g.w
								? row[j * g.dilation_w * c + e]
								: 0;
			}
		}
		if (++along == g.ow) {
			along = 0;
			down++;
		}
	}
}

/* The adjoint: adds windows back into an image. */
static void scatter(const pai_dnn_conv *d, const float *from, int64_t lo, int64_t hi, float *x)
{
	const plane g = plane_of(d);
	int64_t c = d->in_channels, line = g.kw * c;
	for (int64_t at = lo; at < hi; at++)
		for (int64_t i = 0; i < g.kh; i++, from += line) {
			int64_t r = at / g.ow * g.stride_h + i * g.dilation_h - g.pad_h;
			int64_t s = at % g.ow * g.stride_w - g.pad_w;
			if (r < 0 || r >= g.h)
				continue;
			for (int64_t j = 0; j < g.kw; j++, s += g.dilation_w) {
				if (s < 0 || s >= g.w)
					continue;
				float *to = x + (r * g.w + s) * c;
				for (int64_t e = 0; e < c; e++)
					to[e] += from[j * c + e];
			}
		}
}

/* [O, C, kernel] <-> [kernel, C, O] */
static void pack(const conv_step *s, const float *w, float *to)
{
	int64_t o = s->d.out_channels, c = s->d.in_channels / s->d.groups, area = s->k / c;
	for (int64_t a = 0; a < area; a++)
		for (int64_t i = 0; i < c; i++)
			for (int64_t f = 0; f < o; f++)
				to[(a * c + i) * o + f] = w[(f * c + i) * area + a];
}

static void unpack(const conv_step *s, const float *from, float *w)
{
	int64_t o = s->d.out_channels, c = s->d.in_channels / s->d.groups, area = s->k / c;
	for (int64_t f = 0; f < o; f++)
		for (int64_t i = 0; i < c; i++)
			for (int64_t a = 0; a < area; a++)
				w[(f * c + i) * area + a] = from[(a * c + i) * o + f];
}

/* Blocks of windows, counted over all images. */
static void forward_blocks(void *args, int64_t lo, int64_t hi, int thread)
{
	const conv_step *s = args;
	float *columns = (float *)s->columns->data + thread * s->block * s->k;
	int64_t image = pai_tensor_nelem(s->x) / s->d.batch, o = s->d.out_channels;
	for (int64_t i = lo; i < hi; i++) {
		int64_t n = i / s->blocks, from = i % s->blocks * s->block;
		int64_t to = from + s->block < s->places ? from + s->block : s->places;
		gather(&s->d, (const float *)s->x->data + n * image, from, to, columns);
		pai_product g = {.m = to - from,
				 .n = o,
				 .k = s->k,
				 .a = columns,
				 .a_row = s->k,
				 .a_col = 1,
				 .b = s->packed->data,
				 .b_row = o,
				 .b_col = 1,
				 .c = (float *)s->y->data + (n * s->places + from) * o,
				 .c_row = o,
				 .alpha = 1,
				 .beta = s->d.sum,
				 .bias = s->bias ? s->bias->data : NULL,
				 .relu = s->d.relu};
		s->own->gemm(&g, true, 0, g.m,
			     (float *)s->scratch->data + thread * PAI_GEMM_SCRATCH);
	}
}

static pai_status run_forward(void *args, pai_run *run)
{
	conv_step *s = args;
	(void)run;
	if (!s->constant)
		pack(s, s->weights->data, s->packed->data);
	pai_parallel(s->threads, s->d.batch * s->blocks, forward_blocks, s);
	return PAI_OK;
}

static void backward_images(void *args, int64_t lo, int64_t hi, int thread)
{
	const conv_step *s = args;
	float *columns = (float *)s->columns->data + thread * s->block * s->k;
	int64_t image = pai_tensor_nelem(s->x) / s->d.batch, o = s->d.out_channels;
	for (int64_t n = lo; n < hi; n++) {
		float *x = (float *)s->x->data + n * image;
		memset(x, 0, sizeof *x * (size_t)image);
		for (int64_t from = 0; from < s->places; from += s->block) {
			int64_t to = from + s->block < s->places ? from + s->block : s->places;
			pai_product g = {.m = to - from,
					 .n = s->k,
					 .k = o,
					 .a = (const float *)s->y->data +
					      (n * s->places + from) * o,
					 .a_row = o,
					 .a_col = 1,
					 .b = s->packed->data,
					 .b_row = 1,
					 .b_col = o,
					 .c = columns,
					 .c_row = s->k,
					 .alpha = 1};
			s->own->gemm(&g, true, 0, g.m,
				     (float *)s->scratch->data + thread * PAI_GEMM_SCRATCH);
			scatter(&s->d, columns, from, to, x);
		}
	}
}

static pai_status run_backward(void *args, pai_run *run)
{
	conv_step *s = args;
	(void)run;
	if (!s->constant)
		pack(s, s->weights->data, s->packed->data);
	pai_parallel(s->threads, s->d.batch, backward_images, s);
	return PAI_OK;
}

/* Blocks one after another, so that the sums do not depend on the number of threads. */
static pai_status run_weights(void *args, pai_run *run)
{
	conv_step *s = args;
	int64_t image = pai_tensor_nelem(s->x) / s->d.batch, o = s->d.out_channels;
	(void)run;
	for (int64_t i = 0; i < s->d.batch * s->blocks; i++) {
		int64_t n = i / s->blocks, from = i % s->blocks * s->block;
		int64_t to = from + s->block < s->places ? from + s->block : s->places;
		gather(&s->d, (const float *)s->x->data + n * image, from, to, s->columns->data);
		pai_product g = {.m = s->k,
				 .n = o,
				 .k = to - from,
				 .a = s->columns->data,
				 .a_row = 1,
				 .a_col = s->k,
				 .b = (const float *)s->y->data + (n * s->places + from) * o,
				 .b_row = o,
				 .b_col = 1,
				 .c = s->packed->data,
				 .c_row = o,
				 .alpha = 1,
				 .beta = i > 0};
		s->own->gemm(&g, true, 0, g.m, s->scratch->data);
	}
	unpack(s, s->packed->data, s->weights->data);
	if (s->bias)
		s->own->sum_rows(s->d.batch * s->places, o, s->y->data, o, s->bias->data);
	return PAI_OK;
}

static bool is_depthwise(const pai_dnn_conv *d)
{
	return d->kind == PAI_DNN_FORWARD && d->groups > 1 && d->groups == d->in_channels &&
	       d->groups == d->out_channels && d->n_space <= 2 && !d->sum;
}

static void depthwise_rows(void *args, int64_t lo, int64_t hi, int thread)
{
	const conv_step *s = args;
	const plane g = plane_of(&s->d);
	(void)thread;
	pai_pool w = {.batch = s->d.batch,
		      .channels = s->d.in_channels,
		      .in_h = g.h,
		      .in_w = g.w,
		      .out_h = s->places / g.ow,
		      .out_w = g.ow,
		      .kernel_h = g.kh,
		      .kernel_w = g.kw,
		      .stride_h = g.stride_h,
		      .stride_w = g.stride_w,
		      .dilation_h = g.dilation_h,
		      .dilation_w = g.dilation_w,
		      .pad_h = g.pad_h,
		      .pad_w = g.pad_w};
	s->own->depthwise(&w, lo, hi, s->x->data, s->packed->data, s->bias ? s->bias->data : NULL,
			  s->d.relu, s->y->data);
}

static pai_status run_depthwise(void *args, pai_run *run)
{
	conv_step *s = args;
	(void)run;
	if (!s->constant)
		pack(s, s->weights->data, s->packed->data);
	pai_parallel(s->threads, s->d.batch * s->places / s->d.out[s->d.n_space - 1],
		     depthwise_rows, s);
	return PAI_OK;
}

/* x and y are the image and grid of the convolution, whichever way it is computed. */
static pai_status emit_own(pai_plan *p, const pai_unit *u, const pai_dnn_conv *d, pai_slot *x,
			   pai_slot *w, pai_slot *bias, pai_slot *y, const char *name)
{
	static const pai_step_fn fns[] = {run_forward, run_backward, run_weights};
	conv_step *s = PAI_NEW(p->arena, conv_step);
	*s = (conv_step){.own = p->own,
			 .d = *d,
			 .x = &x->tensor,
			 .weights = &w->tensor,
			 .bias = bias ? &bias->tensor : NULL,
			 .y = &y->tensor,
			 .k = d->in_channels / d->groups,
			 .places = 1};
	for (int i = 0; i < d->n_space; i++) {
		s->k *= d->kernel[i];
		s->places *= d->out[i];
	}
	s->block = COLUMNS / s->k < 48 ? 48 : COLUMNS / s->k;
	s->block = s->block < s->places ? s->block : s->places;
	s->blocks = (s->places + s->block - 1) / s->block;
	s->threads = d->kind == PAI_DNN_BACKWARD_WEIGHTS ? 1 : pai_step_threads(p, work_of(d));
	size_t columns =
		is_depthwise(d) ? 1 : sizeof(float) * (size_t)(s->threads * s->block * s->k);
	pai_slot *packed = pai_slot_temp(p, w->tensor.nbytes), *col = pai_slot_temp(p, columns);
	pai_slot *scratch = pai_slot_temp(p, sizeof(float) * (size_t)s->threads * PAI_GEMM_SCRATCH);
	s->packed = &packed->tensor;
	s->columns = &col->tensor;
	s->scratch = &scratch->tensor;
	s->constant = w->place == PAI_IN_CONST && d->kind != PAI_DNN_BACKWARD_WEIGHTS;
	if (s->constant) {
		packed->place = PAI_IN_CONST;
		packed->tensor.data = pai_arena_bulk(p->arena, w->tensor.nbytes);
		if (!packed->tensor.data)
			return pai_fail(p->ctx, PAI_E_memory, pai_at_nothing(),
					"no memory for weights");
		pack(s, w->tensor.data, packed->tensor.data);
	}
	pai_step_info info = {
		.node = u->node, .name = name, .impl = p->own->name, .flops = 2 * work_of(d)};
	pai_slot *in[3], *out[5];
	int n_in = 0, n_out = 0;
	out[n_out++] = packed;
	out[n_out++] = col;
	out[n_out++] = scratch;
	bool writes[] = {d->kind == PAI_DNN_BACKWARD_DATA, d->kind == PAI_DNN_BACKWARD_WEIGHTS,
			 d->kind == PAI_DNN_FORWARD};
	pai_slot *of[] = {x, w, y};
	for (int i = 0; i < 3; i++)
		*(writes[i] ? &out[n_out++] : &in[n_in++]) = of[i];
	if (bias && writes[1])
		out[n_out++] = bias;
	pai_slot *all_in[4] = {in[0], in[1], bias && !writes[1] ? bias : NULL};
	pai_step_fn fn = is_depthwise(d) ? run_depthwise : fns[d->kind];
	pai_plan_emit(p, (pai_step){fn, s}, info, 3, all_in, n_out, out);
	return PAI_OK;
}

static bool own_can(const pai_dnn_conv *d)
{
	return (d->groups == 1 && d->n_space <= 2) || is_depthwise(d);
}

/* oneDNN's primitive where it is the better choice, or the only one; else NULL. */
static pai_status choose(pai_plan *p, const pai_dnn_conv *d, pai_dnn_op **op)
{
	*op = NULL;
	if (p->options.no_onednn ||
	    (p->work < (p->options.often ? OFTEN_WORK : ENOUGH_WORK) && own_can(d)))
		return PAI_OK;
	PAI_TRY(pai_dnn_conv_new(p, d, op));
	/* Its fallback writes out the windows of whole images. */
	if (*op && own_can(d) && d->kind == PAI_DNN_FORWARD && strstr(pai_dnn_impl(*op), "gemm"))
		*op = NULL;
	return PAI_OK;
}

/* ---- the builders ---- */

static pai_unit *following(const pai_slot *y, const char *op)
{
	pai_unit *r = pai_slot_only_reader(y);
	return r && pai_node_is(r->node, op) && r->out[0] && pai_unit_is(r, PAI_FLOAT) ? r : NULL;
}

/* An Add of what the sums may start from, because nobody needs it any more; *other is that. */
static pai_unit *following_sum(const pai_plan *p, const pai_unit *u, pai_slot **other)
{
	const pai_slot *y = u->out[0];
	pai_unit *add = following(y, "Add");
	if (!add || add->node->op->since < 7)
		return NULL;
	pai_slot *o = *other = add->in[0] == y ? add->in[1] : add->in[0];
	bool same = o->tensor.rank == y->tensor.rank;
	for (int i = 0; same && i < y->tensor.rank; i++)
		same = o->tensor.dims[i] == y->tensor.dims[i];
	bool free = same && o->channels_last && pai_slot_ready(o) &&
		    pai_slot_reusable(p, o, add->out[0], add);
	for (int i = 0; i < u->n_in; i++) /* not what the convolution itself reads */
		free &= !u->in[i] || (u->in[i] != o && u->in[i]->root != o);
	return free ? add : NULL;
}

pai_status pai_fast_conv(pai_plan *p, pai_unit *u, bool *taken)
{
	pai_dnn_conv d = {.kind = PAI_DNN_FORWARD};
	bool fits;
	if (!pai_unit_is(u, PAI_FLOAT))
		return PAI_OK;
	PAI_TRY(describe(p, u, &u->in[0]->tensor, &u->in[1]->tensor, &d, &fits));
	if (!fits)
		return PAI_OK;
	pai_slot *bias = u->n_in > 2 ? u->in[2] : NULL, *y = u->out[0], *other = NULL;
	pai_unit *sum = following_sum(p, u, &other);
	pai_dnn_op *op;
	d.bias = bias != NULL;
	for (;; sum = NULL) { /* an implementation may be there only without the sum */
		d.sum = sum != NULL;
		d.relu = following(sum ? sum->out[0] : y, "Relu") != NULL;
		PAI_TRY(choose(p, &d, &op));
		if (op || own_can(&d) || !sum)
			break;
	}
	if (!op && !own_can(&d))
		return PAI_OK;
	const char *name = sum      ? (d.relu ? "Conv+Add+Relu" : "Conv+Add")
			   : d.relu ? "Conv+Relu"
				    : "Conv";
	pai_unit *relu = following(sum ? sum->out[0] : y, "Relu");
	if (sum) {
		sum->dead = true;
		y = sum->out[0];
	}
	if (relu) {
		relu->dead = true;
		y = relu->out[0];
	}
	pai_slot *x = pai_slot_in(p, u->in[0], true), *to = pai_slot_out(p, y, true);
	*taken = true;
	if (sum) {
		to->root = other;
		other->shared++;
	}
	pai_slot *w = pai_slot_in(p, u->in[1], false);
	if (op) {
		PAI_TRY(weights_for(p, op, w, &w));
		emit_dnn(p, u, &d, op, x, w, bias, to, name);
	} else {
		PAI_TRY(emit_own(p, u, &d, x, w, bias, to, name));
	}
	pai_slot_done(p, y, to);
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
static pai_status emit_image(pai_plan *p, pai_unit *u, const pai_dnn_conv *d, pai_slot *image,
			     pai_slot *w, pai_slot *bias, pai_slot *grid, bool *taken)
{
	pai_dnn_op *op;
	PAI_TRY(choose(p, d, &op));
	if (!op && !own_can(d))
		return PAI_OK;
	*taken = true;
	grid = pai_slot_in(p, grid, true);
	w = pai_slot_in(p, w, false); /* may itself be the result of a convolution */
	pai_slot *to = pai_slot_out(p, image, true);
	if (op) {
		PAI_TRY(weights_for(p, op, w, &w));
		emit_dnn(p, u, d, op, to, w, NULL, grid, u->node->op_type);
	} else {
		PAI_TRY(emit_own(p, u, d, to, w, NULL, grid, u->node->op_type));
	}
	if (bias)
		emit_bias(p, u, to, bias);
	pai_slot_done(p, image, to);
	return PAI_OK;
}

pai_status pai_fast_conv_grad_x(pai_plan *p, pai_unit *u, bool *taken)
{
	pai_dnn_conv d = {.kind = PAI_DNN_BACKWARD_DATA};
	pai_slot *dy = u->in[0], *w = u->in[1], *dx = u->out[0];
	bool fits;
	if (u->dynamic || dy->place == PAI_IN_BUFFER || w->place == PAI_IN_BUFFER ||
	    dy->tensor.dtype != PAI_FLOAT)
		return PAI_OK;
	PAI_TRY(describe(p, u, &dx->tensor, &w->tensor, &d, &fits));
	return fits ? emit_image(p, u, &d, dx, w, NULL, dy, taken) : PAI_OK;
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
	return fits ? emit_image(p, u, &d, u->out[0], u->in[1], bias, u->in[0], taken) : PAI_OK;
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
	pai_dnn_conv d = {.kind = PAI_DNN_BACKWARD_WEIGHTS};
	pai_slot *dy = u->in[0], *x = u->in[1], *dw = u->out[0];
	bool fits;
	if (u->dynamic || dy->place == PAI_IN_BUFFER || x->place == PAI_IN_BUFFER ||
	    dy->tensor.dtype != PAI_FLOAT)
		return PAI_OK;
	PAI_TRY(describe(p, u, &x->tensor, &dw->tensor, &d, &fits));
	if (!fits)
		return PAI_OK;
	pai_unit *sum = bias_sum(p, dy);
	pai_slot *bias = sum && sum->out[0]->first < 0 ? sum->out[0] : NULL;
	d.bias = bias != NULL;
	pai_dnn_op *op;
	PAI_TRY(choose(p, &d, &op));
	if (!op && !own_can(&d))
		return PAI_OK;
	*taken = true;
	if (bias)
		sum->dead = true;
	const char *name = bias ? "ConvGradW+bias" : "ConvGradW";
	dy = pai_slot_in(p, dy, true);
	x = pai_slot_in(p, x, true);
	if (!op)
		return emit_own(p, u, &d, x, dw, bias, dy, name);
	pai_dnn_op *back;
	PAI_TRY(pai_dnn_weights_new(p, op, true, &back));
	pai_slot *made = back ? pai_slot_temp(p, pai_dnn_bytes(op, PAI_DNN_WEIGHTS)) : dw;
	emit_dnn(p, u, &d, op, x, made, bias, dy, name);
	if (!back)
		return PAI_OK;
	pai_slot *to[] = {dw, scratch_for(p, back)};
	pai_dnn_bind(back, PAI_DNN_SRC, &made->tensor);
	pai_dnn_bind(back, PAI_DNN_DST, &dw->tensor);
	pai_step_info info = {.name = "reorder weights", .impl = pai_dnn_impl(back)};
	pai_plan_emit(p, (pai_step){pai_dnn_run, back}, info, 1, &made, 2, to);
	return PAI_OK;
}
