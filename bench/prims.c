/* prims.c -- times single oneDNN primitives, 2.6 and 3.x: a step's lower bound is the sum over its
 * convolutions and products; activations, pools, loss, optimiser and reorders are left out.
 *
 * prims THREADS <SHAPES, one a line:
 *     conv N IC IH OC K PAD FIRST   forward, by data (not when FIRST is 1), by weights; any layout
 *     gemm M N K                    C[M,N] = A[M,K] B[K,N] as a product of plain matrices
 * Prints the minimum of many of each in ms, of processor time with one thread, and which
 * implementation it was.
 */
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(x)                                                         \
	do {                                                             \
		dnnl_status_t s_ = (x);                                  \
		if (s_ != dnnl_success) {                                \
			fprintf(stderr, "%s: status %d\n", #x, (int)s_); \
			exit(1);                                         \
		}                                                        \
	} while (0)

static dnnl_engine_t engine;
static dnnl_stream_t stream;
static clockid_t watch = CLOCK_MONOTONIC;

static double now(void)
{
	struct timespec t;
	clock_gettime(watch, &t);
	return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

#if DNNL_VERSION_MAJOR >= 3
#define REF(m) (m)
typedef const_dnnl_memory_desc_t layout_ref;
#else
#define REF(m) (&(m))
typedef const dnnl_memory_desc_t *layout_ref;
#endif

static dnnl_memory_desc_t layout(int rank, const int64_t *dims, dnnl_format_tag_t tag)
{
	dnnl_memory_desc_t m;
	dnnl_dims_t d = {0};
	memcpy(d, dims, sizeof *dims * (size_t)rank);
#if DNNL_VERSION_MAJOR >= 3
	CHECK(dnnl_memory_desc_create_with_tag(&m, rank, d, dnnl_f32, tag));
#else
	CHECK(dnnl_memory_desc_init_by_tag(&m, rank, d, dnnl_f32, tag));
#endif
	return m;
}

static dnnl_memory_t memory(dnnl_primitive_desc_t pd, dnnl_query_t what, int i)
{
	layout_ref l = dnnl_primitive_desc_query_md(pd, what, i);
	dnnl_memory_t m;
	void *at;
	CHECK(dnnl_memory_create(&m, l, engine, DNNL_MEMORY_ALLOCATE));
	CHECK(dnnl_memory_get_data_handle(m, &at));
	for (size_t k = 0; k < dnnl_memory_desc_get_size(l) / sizeof(float); k++)
		((float *)at)[k] = 1e-2f * (float)(k % 7);
	return m;
}

static double times(dnnl_primitive_t p, int n, const dnnl_exec_arg_t *args, int count)
{
	double t = now();
	for (int i = 0; i < count; i++)
		CHECK(dnnl_primitive_execute(p, stream, n, args));
	return (now() - t) / count;
}

/* Of rounds of half a millisecond: what is shorter than reading the clock has no time of its own.
 */
static double fastest(dnnl_primitive_desc_t pd, int n, const dnnl_exec_arg_t *args,
		      const char **impl)
{
	dnnl_primitive_t p;
	CHECK(dnnl_primitive_create(&p, pd));
	CHECK(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, impl));
	times(p, n, args, 3);
	double once = times(p, n, args, 5), best = 1e9, start = now();
	int count = once < 0.5 ? (int)(0.5 / (once > 1e-4 ? once : 1e-4)) + 1 : 1;
	for (int r = 0; r < 400 && (r < 5 || now() - start < 150); r++) {
		double t = times(p, n, args, count);
		best = t < best ? t : best;
	}
	return best;
}

typedef struct conv {
	dnnl_memory_desc_t x, w, b, y;
	dnnl_dims_t stride, dilation, pad;
} conv;

static dnnl_primitive_desc_t conv_desc(const conv *c, int kind, dnnl_primitive_desc_t hint)
{
	dnnl_primitive_desc_t pd;
#if DNNL_VERSION_MAJOR >= 3
	if (kind == 0)
		CHECK(dnnl_convolution_forward_primitive_desc_create(
			&pd, engine, dnnl_forward_training, dnnl_convolution_direct, c->x, c->w,
			c->b, c->y, c->stride, c->dilation, c->pad, c->pad, NULL));
	else if (kind == 1)
		CHECK(dnnl_convolution_backward_data_primitive_desc_create(
			&pd, engine, dnnl_convolution_direct, c->x, c->w, c->y, c->stride,
			c->dilation, c->pad, c->pad, hint, NULL));
	else
		CHECK(dnnl_convolution_backward_weights_primitive_desc_create(
			&pd, engine, dnnl_convolution_direct, c->x, c->w, c->b, c->y, c->stride,
			c->dilation, c->pad, c->pad, hint, NULL));
#else
	dnnl_convolution_desc_t d;
	if (kind == 0)
		CHECK(dnnl_convolution_forward_desc_init(&d, dnnl_forward_training,
							 dnnl_convolution_direct, &c->x, &c->w,
							 &c->b, &c->y, c->stride, c->pad, c->pad));
	else if (kind == 1)
		CHECK(dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, &c->x,
							       &c->w, &c->y, c->stride, c->pad,
							       c->pad));
	else
		CHECK(dnnl_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct,
								  &c->x, &c->w, &c->b, &c->y,
								  c->stride, c->pad, c->pad));
	CHECK(dnnl_primitive_desc_create(&pd, &d, NULL, engine, hint));
#endif
	return pd;
}

static void time_conv(const int64_t *v)
{
	int64_t n = v[0], ic = v[1], side = v[2], oc = v[3], k = v[4], pad = v[5];
	int64_t out = side + 2 * pad - k + 1;
	const char *impl[3] = {"-", "-", "-"};
	double ms[3] = {0};
	conv c = {.x = layout(4, (int64_t[]){n, ic, side, side}, dnnl_format_tag_any),
		  .w = layout(4, (int64_t[]){oc, ic, k, k}, dnnl_format_tag_any),
		  .b = layout(1, (int64_t[]){oc}, dnnl_a),
		  .y = layout(4, (int64_t[]){n, oc, out, out}, dnnl_format_tag_any),
		  .stride = {1, 1},
		  .pad = {pad, pad}};
	dnnl_primitive_desc_t f = conv_desc(&c, 0, NULL), w = conv_desc(&c, 2, f);
	dnnl_exec_arg_t forward[] = {{DNNL_ARG_SRC, memory(f, dnnl_query_src_md, 0)},
				     {DNNL_ARG_WEIGHTS, memory(f, dnnl_query_weights_md, 0)},
				     {DNNL_ARG_BIAS, memory(f, dnnl_query_weights_md, 1)},
				     {DNNL_ARG_DST, memory(f, dnnl_query_dst_md, 0)}};
	ms[0] = fastest(f, 4, forward, &impl[0]);
	if (!v[6]) {
		dnnl_primitive_desc_t d = conv_desc(&c, 1, f);
		dnnl_exec_arg_t data[] = {
			{DNNL_ARG_DIFF_SRC, memory(d, dnnl_query_diff_src_md, 0)},
			{DNNL_ARG_WEIGHTS, memory(d, dnnl_query_weights_md, 0)},
			{DNNL_ARG_DIFF_DST, memory(d, dnnl_query_diff_dst_md, 0)}};
		ms[1] = fastest(d, 3, data, &impl[1]);
	}
	dnnl_exec_arg_t weights[] = {
		{DNNL_ARG_SRC, memory(w, dnnl_query_src_md, 0)},
		{DNNL_ARG_DIFF_WEIGHTS, memory(w, dnnl_query_diff_weights_md, 0)},
		{DNNL_ARG_DIFF_BIAS, memory(w, dnnl_query_diff_weights_md, 1)},
		{DNNL_ARG_DIFF_DST, memory(w, dnnl_query_diff_dst_md, 0)}};
	ms[2] = fastest(w, 4, weights, &impl[2]);
	printf("{\"ms\":[%.5f,%.5f,%.5f],\"impl\":[\"%s\",\"%s\",\"%s\"]}\n", ms[0], ms[1], ms[2],
	       impl[0], impl[1], impl[2]);
}

static void time_gemm(const int64_t *v)
{
	const char *impl;
	dnnl_primitive_desc_t pd;
	dnnl_memory_desc_t a = layout(2, (int64_t[]){v[0], v[2]}, dnnl_ab),
			   b = layout(2, (int64_t[]){v[2], v[1]}, dnnl_ab),
			   c = layout(2, (int64_t[]){v[0], v[1]}, dnnl_ab);
#if DNNL_VERSION_MAJOR >= 3
	CHECK(dnnl_matmul_primitive_desc_create(&pd, engine, a, b, NULL, c, NULL));
#else
	dnnl_matmul_desc_t d;
	CHECK(dnnl_matmul_desc_init(&d, &a, &b, NULL, &c));
	CHECK(dnnl_primitive_desc_create(&pd, &d, NULL, engine, NULL));
#endif
	dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, memory(pd, dnnl_query_src_md, 0)},
				  {DNNL_ARG_WEIGHTS, memory(pd, dnnl_query_weights_md, 0)},
				  {DNNL_ARG_DST, memory(pd, dnnl_query_dst_md, 0)}};
	double ms = fastest(pd, 3, args, &impl);
	printf("{\"ms\":[%.5f],\"impl\":[\"%s\"]}\n", ms, impl);
}

int main(int argc, char **argv)
{
	char kind[16];
	int64_t v[7];
	omp_set_num_threads(argc > 1 ? atoi(argv[1]) : 1);
	if (omp_get_max_threads() == 1)
		watch = CLOCK_THREAD_CPUTIME_ID;
	CHECK(dnnl_engine_create(&engine, dnnl_cpu, 0));
	CHECK(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
	while (scanf("%15s", kind) == 1) {
		int n = *kind == 'c' ? 7 : 3;
		for (int i = 0; i < n; i++)
			if (scanf("%ld", &v[i]) != 1)
				return 2;
		if (*kind == 'c')
			time_conv(v);
		else
			time_gemm(v);
	}
	return 0;
}
