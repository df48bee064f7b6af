/* onednn.c -- everything that is said to oneDNN; no other file includes its header.
 *
 * Speaks the C interfaces of 2.6 and of 3.x. They differ in what a memory descriptor is (a struct;
 * an opaque handle), in how a primitive is described, and in a few argument lists; the first part
 * of the file hides that. An engine is made for the first operation of a plan: starting one costs
 * some 20 ms. Only then is the library opened, as a program that starts pays 2 ms for it and most
 * have no use for it.
 */
#include "runtime/onednn.h"
#include "runtime/library.h"
#include <dnnl.h>
#include <string.h>

enum { ROOM = 64 << 20 }; /* 43 (2.6) or 50 MB (3.2) of libraries, then the engine and its code */

const char *pai_onednn_version(pai_ctx *ctx, pai_arena *a)
{
	__typeof__(&dnnl_version) version;
	if (!pai_library_function(ctx, PAI_DNNL, ROOM, "dnnl_version", &version))
		return NULL;
	const dnnl_version_t *v = version();
	return pai_arena_printf(a, "%d.%d.%d", v->major, v->minor, v->patch);
}

const char *pai_onednn_isa(pai_ctx *ctx)
{
	static const struct {
		const char *name;
		int isa;
	} names[] = {
		{"sse4.1", dnnl_cpu_isa_sse41},
		{"avx", dnnl_cpu_isa_avx},
		{"avx2", dnnl_cpu_isa_avx2},
		{"avx2_vnni", dnnl_cpu_isa_avx2_vnni},
		{"avx512_core", dnnl_cpu_isa_avx512_core},
		{"avx512_core_vnni", dnnl_cpu_isa_avx512_core_vnni},
		{"avx512_core_bf16", dnnl_cpu_isa_avx512_core_bf16},
		{"avx512_core_amx", dnnl_cpu_isa_avx512_core_amx},
	};
	__typeof__(&dnnl_get_effective_cpu_isa) effective;
	if (!pai_library_function(ctx, PAI_DNNL, ROOM, "dnnl_get_effective_cpu_isa", &effective))
		return NULL;
	const int isa = (int)effective();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].isa == isa)
			return names[i].name;
	return "other";
}

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout; /* owned */
typedef const_dnnl_memory_desc_t layout_ref;
#define REF(l) (l)
#else
typedef dnnl_memory_desc_t layout;
typedef const dnnl_memory_desc_t *layout_ref;
#define REF(l) (&(l))
#endif

/* What is called: FUNCTION(x) is dnnl_x. */
#define FUNCTIONS                                    \
	FUNCTION(engine_create)                      \
	FUNCTION(engine_destroy)                     \
	FUNCTION(memory_create)                      \
	FUNCTION(memory_desc_equal)                  \
	FUNCTION(memory_desc_get_size)               \
	FUNCTION(memory_destroy)                     \
	FUNCTION(memory_set_data_handle)             \
	FUNCTION(post_ops_append_eltwise)            \
	FUNCTION(post_ops_create)                    \
	FUNCTION(post_ops_destroy)                   \
	FUNCTION(primitive_attr_create)              \
	FUNCTION(primitive_attr_destroy)             \
	FUNCTION(primitive_attr_set_post_ops)        \
	FUNCTION(primitive_attr_set_scratchpad_mode) \
	FUNCTION(primitive_create)                   \
	FUNCTION(primitive_desc_destroy)             \
	FUNCTION(primitive_desc_query)               \
	FUNCTION(primitive_desc_query_md)            \
	FUNCTION(primitive_destroy)                  \
	FUNCTION(primitive_execute)                  \
	FUNCTION(reorder_primitive_desc_create)      \
	FUNCTION(stream_create)                      \
	FUNCTION(stream_destroy)
#if DNNL_VERSION_MAJOR >= 3
#define FUNCTIONS_OF_VERSION                                         \
	FUNCTION(convolution_backward_data_primitive_desc_create)    \
	FUNCTION(convolution_backward_weights_primitive_desc_create) \
	FUNCTION(convolution_forward_primitive_desc_create)          \
	FUNCTION(matmul_primitive_desc_create)                       \
	FUNCTION(memory_desc_create_with_strides)                    \
	FUNCTION(memory_desc_create_with_tag)                        \
	FUNCTION(memory_desc_destroy)                                \
	FUNCTION(primitive_desc_next_impl)
#else
#define FUNCTIONS_OF_VERSION                                     \
	FUNCTION(dilated_convolution_backward_data_desc_init)    \
	FUNCTION(dilated_convolution_backward_weights_desc_init) \
	FUNCTION(dilated_convolution_forward_desc_init)          \
	FUNCTION(matmul_desc_init)                               \
	FUNCTION(memory_desc_init_by_strides)                    \
	FUNCTION(memory_desc_init_by_tag)                        \
	FUNCTION(primitive_desc_iterator_create)                 \
	FUNCTION(primitive_desc_iterator_destroy)                \
	FUNCTION(primitive_desc_iterator_fetch)                  \
	FUNCTION(primitive_desc_iterator_next)
#endif

typedef struct functions {
#define FUNCTION(x) __typeof__(&dnnl_##x) x;
	FUNCTIONS FUNCTIONS_OF_VERSION
#undef FUNCTION
} functions;

typedef struct pai_dnn { /* of a plan */
	functions f;
	dnnl_engine_t engine;
	dnnl_stream_t stream;
} pai_dnn;

struct pai_dnn_op {
	pai_dnn *dnn;
	const pai_ctx *ctx;
	dnnl_primitive_t primitive;
	dnnl_primitive_desc_t desc;
	dnnl_memory_t memory[PAI_DNN_ARGS];
	const pai_tensor *tensor[PAI_DNN_ARGS];
	void *address[PAI_DNN_ARGS]; /* as last told to the memory object */
	size_t nbytes[PAI_DNN_ARGS];
	layout_ref weights; /* as the primitive wants it */
	layout plain_weights;
	bool has_plain;
	dnnl_exec_arg_t args[PAI_DNN_ARGS];
	int n_args;
	int slot_of[PAI_DNN_ARGS]; /* pai_dnn_arg of args[i] */
	const char *impl;
};

static pai_code code_of(dnnl_status_t st)
{
	return st == dnnl_out_of_memory ? PAI_E_memory : PAI_E_internal;
}

static pai_status failed(pai_plan *p, const char *what, dnnl_status_t st)
{
	return pai_fail(p->ctx, code_of(st), pai_at_nothing(),
			"oneDNN could not make %s (status %d)", what, (int)st);
}

/* dims and strides are copied into arrays of the length oneDNN declares. strides NULL: any format.
 */
static dnnl_status_t layout_new(const functions *f, layout *out, int rank, const int64_t *dims,
				const int64_t *strides)
{
	dnnl_dims_t d = {0}, s = {0};
	for (int i = 0; i < rank; i++) {
		d[i] = dims[i];
		s[i] = strides ? strides[i] : 0;
	}
#if DNNL_VERSION_MAJOR >= 3
	if (!strides)
		return f->memory_desc_create_with_tag(out, rank, d, dnnl_f32, dnnl_format_tag_any);
	return f->memory_desc_create_with_strides(out, rank, d, dnnl_f32, s);
#else
	if (!strides)
		return f->memory_desc_init_by_tag(out, rank, d, dnnl_f32, dnnl_format_tag_any);
	return f->memory_desc_init_by_strides(out, rank, d, dnnl_f32, s);
#endif
}

static void layout_drop(const functions *f, layout *l)
{
#if DNNL_VERSION_MAJOR >= 3
	f->memory_desc_destroy(*l);
#else
	(void)f, (void)l;
#endif
}

/* What a primitive is made with beside its operands. */
static dnnl_status_t attr_new(const functions *f, dnnl_primitive_attr_t *out, bool relu)
{
	dnnl_post_ops_t ops;
	dnnl_status_t st = f->primitive_attr_create(out);
	if (st != dnnl_success)
		return st;
	f->primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
	if ((st = f->post_ops_create(&ops)) != dnnl_success)
		return st;
#if DNNL_VERSION_MAJOR >= 3
	if (relu)
		st = f->post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0);
#else
	if (relu)
		st = f->post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
#endif
	if (st == dnnl_success)
		st = f->primitive_attr_set_post_ops(*out, ops);
	f->post_ops_destroy(ops);
	return st;
}

static const char *impl_name(const functions *f, const_dnnl_primitive_desc_t pd)
{
	const char *name = "";
	f->primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
	return name;
}

static bool is_reference(const functions *f, const_dnnl_primitive_desc_t pd)
{
	return strstr(impl_name(f, pd), "ref") != NULL;
}

typedef struct conv_layouts {
	layout src, weights, bias, dst;
	dnnl_dims_t stride, dilation, begin, end;
} conv_layouts;

/* Best implementation that is no reference; dnnl_unimplemented when there is none. */
#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t skip_reference(const functions *f, dnnl_primitive_desc_t *pd, dnnl_status_t st)
{
	while (st == dnnl_success && is_reference(f, *pd)) {
		st = f->primitive_desc_next_impl(*pd);
		if (st != dnnl_success)
			f->primitive_desc_destroy(*pd);
	}
	return st == dnnl_last_impl_reached ? dnnl_unimplemented : st;
}

static dnnl_status_t conv_desc(pai_dnn *n, pai_dnn_kind kind, const conv_layouts *l, bool bias,
			       bool training, dnnl_primitive_attr_t attr,
			       dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out)
{
	const functions *f = &n->f;
	layout_ref b = bias ? l->bias : NULL;
	dnnl_status_t st = dnnl_unimplemented;
	switch (kind) {
	case PAI_DNN_FORWARD:
		st = f->convolution_forward_primitive_desc_create(
			out, n->engine, training ? dnnl_forward_training : dnnl_forward_inference,
			dnnl_convolution_direct, l->src, l->weights, b, l->dst, l->stride,
			l->dilation, l->begin, l->end, attr);
		break;
	case PAI_DNN_BACKWARD_DATA:
		st = f->convolution_backward_data_primitive_desc_create(
			out, n->engine, dnnl_convolution_direct, l->src, l->weights, l->dst,
			l->stride, l->dilation, l->begin, l->end, hint, attr);
		break;
	case PAI_DNN_BACKWARD_WEIGHTS:
		st = f->convolution_backward_weights_primitive_desc_create(
			out, n->engine, dnnl_convolution_direct, l->src, l->weights, b, l->dst,
			l->stride, l->dilation, l->begin, l->end, hint, attr);
		break;
	}
	return hint || kind == PAI_DNN_FORWARD ? skip_reference(f, out, st) : st;
}

static dnnl_status_t matmul_desc(pai_dnn *n, layout *l, bool bias, dnnl_primitive_attr_t attr,
				 dnnl_primitive_desc_t *out)
{
	const functions *f = &n->f;
	return skip_reference(f, out,
			      f->matmul_primitive_desc_create(
				      out, n->engine, l[PAI_DNN_SRC], l[PAI_DNN_WEIGHTS],
				      bias ? l[PAI_DNN_BIAS] : NULL, l[PAI_DNN_DST], attr));
}
#else
static dnnl_status_t best(pai_dnn *n, const_dnnl_op_desc_t d, dnnl_primitive_attr_t attr,
			  dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out)
{
	const functions *f = &n->f;
	dnnl_primitive_desc_iterator_t it;
	dnnl_status_t st = f->primitive_desc_iterator_create(&it, d, attr, n->engine, hint);
	if (st != dnnl_success)
		return st;
	for (;;) {
		*out = f->primitive_desc_iterator_fetch(it);
		if (!is_reference(f, *out))
			break;
		f->primitive_desc_destroy(*out);
		if (f->primitive_desc_iterator_next(it) != dnnl_success) {
			st = dnnl_unimplemented;
			break;
		}
	}
	f->primitive_desc_iterator_destroy(it);
	return st;
}

static dnnl_status_t conv_desc(pai_dnn *n, pai_dnn_kind kind, const conv_layouts *l, bool bias,
			       bool training, dnnl_primitive_attr_t attr,
			       dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out)
{
	const functions *f = &n->f;
	const layout *b = bias ? &l->bias : NULL;
	dnnl_convolution_desc_t d;
	dnnl_status_t st = dnnl_unimplemented;
	switch (kind) {
	case PAI_DNN_FORWARD:
		st = f->dilated_convolution_forward_desc_init(
			&d, training ? dnnl_forward_training : dnnl_forward_inference,
			dnnl_convolution_direct, &l->src, &l->weights, b, &l->dst, l->stride,
			l->dilation, l->begin, l->end);
		break;
	case PAI_DNN_BACKWARD_DATA:
		st = f->dilated_convolution_backward_data_desc_init(
			&d, dnnl_convolution_direct, &l->src, &l->weights, &l->dst, l->stride,
			l->dilation, l->begin, l->end);
		break;
	case PAI_DNN_BACKWARD_WEIGHTS:
		st = f->dilated_convolution_backward_weights_desc_init(
			&d, dnnl_convolution_direct, &l->src, &l->weights, b, &l->dst, l->stride,
			l->dilation, l->begin, l->end);
		break;
	}
	return st == dnnl_success ? best(n, &d, attr, hint, out) : st;
}

static dnnl_status_t matmul_desc(pai_dnn *n, layout *l, bool bias, dnnl_primitive_attr_t attr,
				 dnnl_primitive_desc_t *out)
{
	const functions *f = &n->f;
	dnnl_matmul_desc_t d;
	dnnl_status_t st = f->matmul_desc_init(&d, &l[PAI_DNN_SRC], &l[PAI_DNN_WEIGHTS],
					       bias ? &l[PAI_DNN_BIAS] : NULL, &l[PAI_DNN_DST]);
	return st == dnnl_success ? best(n, &d, attr, NULL, out) : st;
}
#endif

static void drop_engine(void *at)
{
	pai_dnn *n = at;
	const functions *f = &n->f;
	f->stream_destroy(n->stream);
	f->engine_destroy(n->engine);
}

static pai_status find_functions(pai_plan *p, functions *f)
{
	static const pai_symbol symbols[] = {
#define FUNCTION(x) {"dnnl_" #x, offsetof(functions, x)},
		FUNCTIONS FUNCTIONS_OF_VERSION
#undef FUNCTION
	};
	return pai_library_open(p->ctx, PAI_DNNL, ROOM, sizeof symbols / sizeof *symbols, symbols,
				f);
}

static pai_status engine(pai_plan *p, pai_dnn **out)
{
	if (!p->dnn) {
		pai_dnn *n = PAI_NEW(p->arena, pai_dnn);
		PAI_TRY(find_functions(p, &n->f));
		dnnl_status_t st = n->f.engine_create(&n->engine, dnnl_cpu, 0);
		if (st != dnnl_success)
			return failed(p, "an engine", st);
		st = n->f.stream_create(&n->stream, n->engine, dnnl_stream_default_flags);
		if (st != dnnl_success) {
			n->f.engine_destroy(n->engine);
			return failed(p, "a stream", st);
		}
		pai_arena_defer(p->arena, drop_engine, n);
		p->dnn = n;
	}
	*out = p->dnn;
	return PAI_OK;
}

static void drop_op(void *at)
{
	pai_dnn_op *op = at;
	const functions *f = &op->dnn->f;
	for (int i = 0; i < PAI_DNN_ARGS; i++)
		if (op->memory[i])
			f->memory_destroy(op->memory[i]);
	if (op->has_plain)
		layout_drop(f, &op->plain_weights);
	if (op->primitive)
		f->primitive_destroy(op->primitive);
	if (op->desc)
		f->primitive_desc_destroy(op->desc);
}

static dnnl_status_t add_arg(pai_dnn_op *op, pai_dnn_arg a, int number, layout_ref l)
{
	const functions *f = &op->dnn->f;
	op->nbytes[a] = f->memory_desc_get_size(l);
	dnnl_status_t st = f->memory_create(&op->memory[a], l, op->dnn->engine, DNNL_MEMORY_NONE);
	op->slot_of[op->n_args] = a;
	op->args[op->n_args++] = (dnnl_exec_arg_t){number, op->memory[a]};
	return st;
}

static layout_ref query(const pai_dnn_op *op, dnnl_query_t what, int index)
{
	return op->dnn->f.primitive_desc_query_md(op->desc, what, index);
}

/* Owns pd from here. */
static pai_status op_new(pai_plan *p, pai_dnn *n, dnnl_primitive_desc_t pd, pai_dnn_op **out)
{
	const functions *f = &n->f;
	pai_dnn_op *op = PAI_NEW(p->arena, pai_dnn_op);
	*op = (pai_dnn_op){.dnn = n, .ctx = p->ctx, .desc = pd};
	pai_arena_defer(p->arena, drop_op, op);
	op->impl = pai_arena_strdup(p->arena, impl_name(f, pd));
	dnnl_status_t st = f->primitive_create(&op->primitive, pd);
	if (st != dnnl_success)
		return failed(p, "a primitive", st);
	layout_ref scratch = query(op, dnnl_query_scratchpad_md, 0);
	if (scratch && f->memory_desc_get_size(scratch))
		st = add_arg(op, PAI_DNN_SCRATCH, DNNL_ARG_SCRATCHPAD, scratch);
	*out = op;
	return st == dnnl_success ? PAI_OK : failed(p, "scratch memory", st);
}

static void channels_last(int rank, const int64_t *dims, int64_t *strides)
{
	strides[1] = 1;
	int64_t step = dims[1];
	for (int i = rank - 1; i >= 2; i--) {
		strides[i] = step;
		step *= dims[i];
	}
	strides[0] = step;
}

static void plain(int rank, const int64_t *dims, int64_t *strides)
{
	int64_t step = 1;
	for (int i = rank - 1; i >= 0; i--) {
		strides[i] = step;
		step *= dims[i];
	}
}

static int weight_dims(const pai_dnn_conv *d, int64_t *dims)
{
	int rank = 0;
	if (d->groups > 1)
		dims[rank++] = d->groups;
	dims[rank++] = d->out_channels / d->groups;
	dims[rank++] = d->in_channels / d->groups;
	for (int i = 0; i < d->n_space; i++)
		dims[rank++] = d->kernel[i];
	return rank;
}

static dnnl_status_t conv_layouts_new(const functions *f, const pai_dnn_conv *d, conv_layouts *l)
{
	int rank = d->n_space + 2;
	int64_t src[5] = {d->batch, d->in_channels}, dst[5] = {d->batch, d->out_channels};
	int64_t weights[6], strides[6];
	for (int i = 0; i < d->n_space; i++) {
		src[i + 2] = d->in[i];
		dst[i + 2] = d->out[i];
		l->stride[i] = d->stride[i];
		l->dilation[i] = d->dilation[i] - 1;
		l->begin[i] = d->pad_begin[i];
		l->end[i] = d->pad_end[i];
	}
	channels_last(rank, src, strides);
	dnnl_status_t st = layout_new(f, &l->src, rank, src, strides);
	channels_last(rank, dst, strides);
	dnnl_status_t st2 = layout_new(f, &l->dst, rank, dst, strides);
	dnnl_status_t st3 = layout_new(f, &l->weights, weight_dims(d, weights), weights, NULL);
	dnnl_status_t st4 = layout_new(f, &l->bias, 1, &d->out_channels, &(int64_t){1});
	return st ? st : st2 ? st2 : st3 ? st3 : st4;
}

static dnnl_status_t conv_pick(pai_dnn *n, const pai_dnn_conv *d, const conv_layouts *l,
			       dnnl_primitive_desc_t *out)
{
	const functions *f = &n->f;
	dnnl_primitive_attr_t attr, none;
	dnnl_status_t st = attr_new(f, &attr, d->relu);
	if (st != dnnl_success)
		return st;
	if (d->kind == PAI_DNN_FORWARD) {
		st = conv_desc(n, d->kind, l, d->bias, false, attr, NULL, out);
	} else if ((st = attr_new(f, &none, false)) == dnnl_success) {
		/* The forward descriptor is only a hint of the geometry. */
		dnnl_primitive_desc_t hint;
		st = conv_desc(n, PAI_DNN_FORWARD, l, false, true, none, NULL, &hint);
		if (st == dnnl_success) {
			st = conv_desc(n, d->kind, l, d->bias, false, attr, hint, out);
			f->primitive_desc_destroy(hint);
		}
		f->primitive_attr_destroy(none);
	}
	f->primitive_attr_destroy(attr);
	return st;
}

static const struct {
	dnnl_query_t query;
	int index, number;
} conv_args[3][4] = {
	[PAI_DNN_FORWARD] = {{dnnl_query_src_md, 0, DNNL_ARG_SRC},
			     {dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
			     {dnnl_query_weights_md, 1, DNNL_ARG_BIAS},
			     {dnnl_query_dst_md, 0, DNNL_ARG_DST}},
	[PAI_DNN_BACKWARD_DATA] = {{dnnl_query_diff_src_md, 0, DNNL_ARG_DIFF_SRC},
				   {dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
				   {dnnl_query_weights_md, 1, DNNL_ARG_BIAS},
				   {dnnl_query_diff_dst_md, 0, DNNL_ARG_DIFF_DST}},
	[PAI_DNN_BACKWARD_WEIGHTS] = {{dnnl_query_src_md, 0, DNNL_ARG_SRC},
				      {dnnl_query_diff_weights_md, 0, DNNL_ARG_DIFF_WEIGHTS},
				      {dnnl_query_diff_weights_md, 1, DNNL_ARG_DIFF_BIAS},
				      {dnnl_query_diff_dst_md, 0, DNNL_ARG_DIFF_DST}},
};

pai_status pai_dnn_conv_new(pai_plan *p, const pai_dnn_conv *d, pai_dnn_op **out)
{
	pai_dnn *n;
	conv_layouts l;
	dnnl_primitive_desc_t pd;
	memset(&l, 0, sizeof l);
	*out = NULL;
	PAI_TRY(engine(p, &n));
	const functions *f = &n->f;
	dnnl_status_t st = conv_layouts_new(f, d, &l);
	if (st == dnnl_success)
		st = conv_pick(n, d, &l, &pd);
	layout *all[] = {&l.src, &l.weights, &l.bias, &l.dst};
	for (int i = 0; i < 4; i++)
		layout_drop(f, all[i]);
	if (st == dnnl_unimplemented)
		return PAI_OK;
	if (st != dnnl_success)
		return failed(p, "a convolution", st);
	pai_dnn_op *op;
	PAI_TRY(op_new(p, n, pd, &op));
	for (int a = 0; a < 4 && st == dnnl_success; a++)
		if (a != PAI_DNN_BIAS || d->bias)
			st = add_arg(op, (pai_dnn_arg)a, conv_args[d->kind][a].number,
				     query(op, conv_args[d->kind][a].query,
					   conv_args[d->kind][a].index));
	op->weights = query(op, conv_args[d->kind][1].query, 0);
	int64_t dims[6], strides[6];
	int rank = weight_dims(d, dims);
	plain(rank, dims, strides);
	if (st == dnnl_success)
		st = layout_new(f, &op->plain_weights, rank, dims, strides);
	op->has_plain = st == dnnl_success;
	if (st != dnnl_success)
		return failed(p, "the operands of a convolution", st);
	*out = op;
	return PAI_OK;
}

static dnnl_status_t matrix_layout(const functions *f, layout *out, int64_t batch,
				   const pai_dnn_matrix *m)
{
	if (batch == 1)
		return layout_new(f, out, 2, (int64_t[]){m->rows, m->cols},
				  (int64_t[]){m->row_stride, m->col_stride});
	return layout_new(f, out, 3, (int64_t[]){m->batch_stride ? batch : 1, m->rows, m->cols},
			  (int64_t[]){m->batch_stride ? m->batch_stride : m->rows * m->cols,
				      m->row_stride, m->col_stride});
}

pai_status pai_dnn_matmul_new(pai_plan *p, int64_t batch, const pai_dnn_matrix *src,
			      const pai_dnn_matrix *weights, const pai_dnn_matrix *dst, bool bias,
			      bool relu, pai_dnn_op **out)
{
	static const int numbers[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST};
	pai_dnn *n;
	layout l[4];
	dnnl_primitive_desc_t pd;
	dnnl_primitive_attr_t attr;
	*out = NULL;
	PAI_TRY(engine(p, &n));
	const functions *f = &n->f;
	pai_dnn_matrix row = {1, dst->cols, 0, dst->cols, 1};
	const pai_dnn_matrix *of[] = {src, weights, &row, dst};
	dnnl_status_t st = attr_new(f, &attr, relu);
	if (st != dnnl_success)
		return failed(p, "an attribute", st);
	int made = 0;
	for (; made < 4 && st == dnnl_success; made++)
		st = matrix_layout(f, &l[made], batch, of[made]);
	if (st == dnnl_success)
		st = matmul_desc(n, l, bias, attr, &pd);
	f->primitive_attr_destroy(attr);
	pai_dnn_op *op = NULL;
	pai_status status = st == dnnl_success ? op_new(p, n, pd, &op) : PAI_OK;
	for (int a = 0; a < 4 && st == dnnl_success && status == PAI_OK; a++)
		if (a != PAI_DNN_BIAS || bias)
			st = add_arg(op, (pai_dnn_arg)a, numbers[a], REF(l[a]));
	while (made > 0)
		layout_drop(f, &l[--made]);
	if (st == dnnl_unimplemented)
		return PAI_OK;
	if (st != dnnl_success)
		return failed(p, "a matrix product", st);
	*out = op;
	return status;
}

pai_status pai_dnn_weights_new(pai_plan *p, const pai_dnn_op *of, bool back, pai_dnn_op **out)
{
	const functions *f = &of->dnn->f;
	layout_ref from = back ? of->weights : REF(of->plain_weights);
	layout_ref to = back ? REF(of->plain_weights) : of->weights;
	*out = NULL;
	if (f->memory_desc_equal(from, to))
		return PAI_OK;
	dnnl_primitive_attr_t attr;
	dnnl_primitive_desc_t pd;
	dnnl_status_t st = attr_new(f, &attr, false);
	if (st != dnnl_success)
		return failed(p, "an attribute", st);
	st = f->reorder_primitive_desc_create(&pd, from, of->dnn->engine, to, of->dnn->engine,
					      attr);
	f->primitive_attr_destroy(attr);
	if (st != dnnl_success)
		return failed(p, "a reorder", st);
	pai_dnn_op *op;
	PAI_TRY(op_new(p, of->dnn, pd, &op));
	st = add_arg(op, PAI_DNN_SRC, DNNL_ARG_FROM, from);
	if (st == dnnl_success)
		st = add_arg(op, PAI_DNN_DST, DNNL_ARG_TO, to);
	if (st != dnnl_success)
		return failed(p, "the operands of a reorder", st);
	*out = op;
	return PAI_OK;
}

size_t pai_dnn_bytes(const pai_dnn_op *op, pai_dnn_arg a)
{
	return op->nbytes[a];
}

const char *pai_dnn_impl(const pai_dnn_op *op)
{
	return op->impl;
}

void pai_dnn_bind(pai_dnn_op *op, pai_dnn_arg a, const pai_tensor *t)
{
	op->tensor[a] = t;
}

pai_status pai_dnn_run(void *args, pai_run *run)
{
	pai_dnn_op *op = args;
	const functions *f = &op->dnn->f;
	for (int i = 0; i < op->n_args; i++) {
		int a = op->slot_of[i];
		void *at = op->tensor[a]->data;
		if (at == op->address[a])
			continue;
		f->memory_set_data_handle(op->memory[a], at);
		op->address[a] = at;
	}
	dnnl_status_t st =
		f->primitive_execute(op->primitive, op->dnn->stream, op->n_args, op->args);
	if (st == dnnl_success)
		return PAI_OK;
	return pai_fail(run->ctx, code_of(st), pai_at_nothing(),
			"oneDNN failed to execute %s (status %d)", op->impl, (int)st);
}
