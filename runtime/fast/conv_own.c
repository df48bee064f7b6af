/* conv_own.c -- convolutions by our own product: windows are gathered into a matrix, some thousand
 * floats at a time, and multiplied; depthwise ones have a loop of their own. Over one or two axes,
 * without groups or with as many as channels.
 */
#include "runtime/fast/conv.h"
#include <string.h>

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
	       d->groups == d->out_channels && d->n_space <= 2;
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

/* A block is at least ROWS windows, and so has memory for so many of the largest; the reference
 * kernel takes what is larger in smaller parts. */
enum { ROWS = 48, LARGEST = 1 << 18 };

bool pai_conv_own_can(const pai_dnn_conv *d)
{
	double k = (double)d->in_channels;
	for (int i = 0; i < d->n_space; i++)
		k *= (double)d->kernel[i];
	return (d->groups == 1 && d->n_space <= 2 && k <= LARGEST) || is_depthwise(d);
}

/* The sizes of the work, and how much of it is done at a time. */
static void set_sizes(const pai_plan *p, conv_step *s)
{
	const pai_dnn_conv *d = &s->d;
	s->k = d->in_channels / d->groups;
	s->places = 1;
	for (int i = 0; i < d->n_space; i++) {
		s->k *= d->kernel[i];
		s->places *= d->out[i];
	}
	s->block = COLUMNS / s->k < ROWS ? ROWS : COLUMNS / s->k;
	s->block = s->block < s->places ? s->block : s->places;
	s->blocks = (s->places + s->block - 1) / s->block;
	s->threads =
		d->kind == PAI_DNN_BACKWARD_WEIGHTS ? 1 : pai_step_threads(p, pai_conv_work(d));
}

/* Room for the weights as the product reads them; they are there already where they never change.
 */
static pai_status place_packed(pai_plan *p, conv_step *s, const pai_slot *weights, pai_slot **out)
{
	size_t nbytes = weights->tensor.nbytes;
	s->constant = weights->place == PAI_IN_CONST && s->d.kind != PAI_DNN_BACKWARD_WEIGHTS;
	if (!s->constant) {
		*out = pai_slot_temp(p, nbytes);
		s->packed = &(*out)->tensor;
		return PAI_OK;
	}
	PAI_TRY(pai_slot_fixed(p, nbytes, out));
	s->packed = &(*out)->tensor;
	pack(s, weights->tensor.data, s->packed->data);
	return PAI_OK;
}

pai_status pai_conv_emit_own(pai_plan *p, const pai_conv_task *t)
{
	static const pai_step_fn fns[] = {run_forward, run_backward, run_weights};
	bool depthwise = is_depthwise(&t->d);
	conv_step *s = PAI_NEW(p->arena, conv_step);
	*s = (conv_step){.own = p->own,
			 .d = t->d,
			 .x = &t->image->tensor,
			 .weights = &t->weights->tensor,
			 .bias = t->bias ? &t->bias->tensor : NULL,
			 .y = &t->grid->tensor};
	set_sizes(p, s);
	int64_t columns = depthwise ? 1 : s->threads * s->block * s->k;
	pai_slot *in[4], *out[7];
	PAI_TRY(place_packed(p, s, t->weights, &out[0]));
	out[1] = pai_slot_temp(p, sizeof(float) * (size_t)columns);
	out[2] = pai_slot_temp(p, sizeof(float) * (size_t)s->threads * PAI_GEMM_SCRATCH);
	s->columns = &out[1]->tensor;
	s->scratch = &out[2]->tensor;
	int n_in, n_out;
	pai_conv_operands(t, in, &n_in, out + 3, &n_out);
	pai_step_fn fn = depthwise ? run_depthwise : fns[t->d.kind];
	pai_plan_emit(p, (pai_step){fn, s}, pai_conv_info(t, p->own->name), n_in, in, 3 + n_out,
		      out);
	return PAI_OK;
}
