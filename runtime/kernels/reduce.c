/* reduce.c -- Reduce operators. The input is read once in memory order; each element goes into the
 * accumulator of its result, which is a double or a 64-bit integer. So a reduction of the last axes
 * runs along rows, one of the first axes adds whole rows to each other, and neither jumps. */
#include "runtime/kernels/reduce.h"
#include "runtime/kernels/elementwise.h"
#include <string.h>

enum { PARTS = 8 }; /* independent partial results, so that a row runs at vector speed */

#define REDUCE(name, T, START, step, join)                              \
	static void name##_whole(int64_t n, const void *from, void *to) \
	{                                                               \
		const T *x = from;                                      \
		T part[PARTS];                                          \
		for (int k = 0; k < PARTS; k++)                         \
			part[k] = START;                                \
		int64_t i = 0;                                          \
		for (; i + PARTS <= n; i += PARTS)                      \
			for (int k = 0; k < PARTS; k++) {               \
				const T v = x[i + k], a = part[k];      \
				part[k] = step;                         \
			}                                               \
		for (; i < n; i++) {                                    \
			const T v = x[i], a = part[i % PARTS];          \
			part[i % PARTS] = step;                         \
		}                                                       \
		for (int k = 0; k < PARTS; k++) {                       \
			const T v = part[k], a = *(T *)to;              \
			*(T *)to = join;                                \
		}                                                       \
	}                                                               \
	static void name##_apart(int64_t n, const void *from, void *to) \
	{                                                               \
		const T *x = from;                                      \
		T *acc = to;                                            \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)    \
		{                                                       \
			const T v = x[i], a = acc[i];                   \
			acc[i] = step;                                  \
		}                                                       \
	}

/* step: v, an element, into a; join: v, a partial result, into a. */
#define REDUCES(name, FS, floats, fjoin, IS, US, ints, ijoin) \
	REDUCE(name##_f64, double, FS, floats, fjoin)         \
	REDUCE(name##_i64, int64_t, IS, ints, ijoin)          \
	REDUCE(name##_u64, uint64_t, US, ints, ijoin)
#define LANE(name, field, START, END)                                                 \
	{                                                                             \
		name##_##field##_whole, name##_##field##_apart, {.field = START}, END \
	}
#define ALL_LANES(name, FS, IS, US, FE, IE, UE)                                 \
	{                                                                       \
		.f64 = LANE(name, f64, FS, FE), .i64 = LANE(name, i64, IS, IE), \
		.u64 = LANE(name, u64, US, UE)                                  \
	}

#define WRAPPED(op) ((uint64_t)a op(uint64_t) v)
REDUCES(sum, 0, a + v, a + v, 0, 0, WRAPPED(+), WRAPPED(+))
REDUCES(prod, 1, a *v, a *v, 1, 1, WRAPPED(*), WRAPPED(*))
REDUCES(max, -INFINITY, v > a || v != v ? v : a, v > a || v != v ? v : a, INT64_MIN, 0,
	v > a ? v : a, v > a ? v : a)
REDUCES(min, INFINITY, v < a || v != v ? v : a, v < a || v != v ? v : a, INT64_MAX, UINT64_MAX,
	v < a ? v : a, v < a ? v : a)
REDUCES(sum_square, 0, a + v * v, a + v, 0, 0, (uint64_t)a + (uint64_t)v * (uint64_t)v, WRAPPED(+))
REDUCE(l1_f64, double, 0, a + fabs(v), a + v)
REDUCE(l1_i64, int64_t, 0, (v < 0 ? WRAPPED(-) : WRAPPED(+)), WRAPPED(+))

#define FINISH(name, T, expr)                              \
	static void name(int64_t n, void *acc, int64_t of) \
	{                                                  \
		T *a = acc;                                \
		(void)of;                                  \
		for (int64_t i = 0; i < n; i++) {          \
			const T v = a[i];                  \
			a[i] = (T)(expr);                  \
		}                                          \
	}
FINISH(mean_f64, double, v / (double)of)
FINISH(mean_i64, int64_t, of ? v / of : 0)
FINISH(mean_u64, uint64_t, of ? v / (uint64_t)of : 0)
FINISH(root_f64, double, sqrt(v))
FINISH(root_i64, int64_t, sqrt((double)v))
FINISH(root_u64, uint64_t, sqrt((double)v))
FINISH(log_f64, double, log(v))
FINISH(log_i64, int64_t, v > 0 ? log((double)v) : 0)
FINISH(log_u64, uint64_t, v > 0 ? log((double)v) : 0)

const pai_reduction pai_reduction_sum = ALL_LANES(sum, 0, 0, 0, NULL, NULL, NULL);
static const pai_reduction mean = ALL_LANES(sum, 0, 0, 0, mean_f64, mean_i64, mean_u64);
static const pai_reduction prod = ALL_LANES(prod, 1, 1, 1, NULL, NULL, NULL);
static const pai_reduction most = ALL_LANES(max, -INFINITY, INT64_MIN, 0, NULL, NULL, NULL);
static const pai_reduction least =
	ALL_LANES(min, INFINITY, INT64_MAX, UINT64_MAX, NULL, NULL, NULL);
static const pai_reduction sum_square = ALL_LANES(sum_square, 0, 0, 0, NULL, NULL, NULL);
static const pai_reduction l2 = ALL_LANES(sum_square, 0, 0, 0, root_f64, root_i64, root_u64);
static const pai_reduction log_sum = ALL_LANES(sum, 0, 0, 0, log_f64, log_i64, log_u64);
static const pai_reduction l1 = {.f64 = LANE(l1, f64, 0, NULL),
				 .i64 = LANE(l1, i64, 0, NULL),
				 .u64 = LANE(sum, u64, 0, NULL)};

/* Dimensions joined as far as neighbours are both kept or both reduced; the last is the row. */
typedef struct layout {
	int rank;
	int64_t dims[PAI_MAX_RANK];
	int64_t step[PAI_MAX_RANK]; /* results to the next index; 0 along reduced dimensions */
	int64_t results, of;        /* elements of a result */
} layout;

static void layout_init(layout *l, const pai_tensor *x, const bool *over)
{
	*l = (layout){.rank = 0, .results = 1, .of = 1};
	bool reduced[PAI_MAX_RANK];
	for (int d = 0; d < x->rank; d++) {
		*(over[d] ? &l->of : &l->results) *= x->dims[d];
		if (l->rank && reduced[l->rank - 1] == over[d]) {
			l->dims[l->rank - 1] *= x->dims[d];
			continue;
		}
		reduced[l->rank] = over[d];
		l->dims[l->rank++] = x->dims[d];
	}
	if (l->rank == 0) {
		l->dims[0] = 1;
		reduced[l->rank++] = false;
	}
	int64_t below = 1;
	for (int d = l->rank - 1; d >= 0; d--) {
		l->step[d] = reduced[d] ? 0 : below;
		below *= reduced[d] ? 1 : l->dims[d];
	}
}

/* One row of the input into the accumulator or accumulators at acc. */
static void take_row(const pai_reduction_lane *r, pai_lane lane, const pai_tensor *x, int64_t first,
		     int64_t n, bool apart, uint64_t *acc)
{
	pai_chunk chunk;
	if (pai_lane_direct(lane, x->dtype)) {
		const void *from = (const uint64_t *)x->data + first;
		apart ? r->apart(n, from, acc) : r->whole(n, from, acc);
		return;
	}
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		pai_lane_load(lane, &chunk, x->dtype, x->data, first + i, m);
		apart ? r->apart(m, &chunk, acc + i) : r->whole(m, &chunk, acc);
	}
}

static const pai_reduction_lane *lane_of(const pai_reduction *r, pai_lane *lane)
{
	if (*lane == PAI_LANE_I64)
		return &r->i64;
	if (*lane == PAI_LANE_U64)
		return &r->u64;
	*lane = PAI_LANE_F64;
	return &r->f64;
}

/* What an accumulator starts from; the extremes of 64 bits stand for those of a shorter type. */
static uint64_t start_of(const pai_reduction_lane *r, pai_lane lane, pai_dtype dtype)
{
	int64_t start = r->start.i64;
	if (lane == PAI_LANE_I64 && (start == INT64_MIN || start == INT64_MAX))
		start >>= 64 - pai_dtype_get(dtype)->bits;
	return (uint64_t)start;
}

pai_status pai_reduce(pai_call *c, const pai_reduction *r, const pai_tensor *x, const bool *over,
		      pai_tensor *out)
{
	layout l;
	layout_init(&l, x, over);
	pai_lane lane = pai_lane_of(x->dtype);
	const pai_reduction_lane *by = lane_of(r, &lane);
	if (l.results == 0)
		return PAI_OK;
	uint64_t *acc = pai_lane_begin(c, lane, out);
	if (!acc)
		return pai_call_nomem(c);
	const uint64_t start = start_of(by, lane, x->dtype);
	for (int64_t i = 0; i < l.results; i++)
		acc[i] = start;
	int row = l.rank - 1;
	int64_t index[PAI_MAX_RANK] = {0}, at = 0, total = l.results * l.of;
	for (int64_t done = 0; done < total; done += l.dims[row]) {
		take_row(by, lane, x, done, l.dims[row], l.step[row] != 0, acc + at);
		for (int d = row - 1; d >= 0; d--) {
			at += l.step[d];
			if (++index[d] < l.dims[d])
				break;
			at -= l.step[d] * l.dims[d];
			index[d] = 0;
		}
	}
	if (by->finish)
		by->finish(l.results, acc, l.of);
	pai_lane_finish(lane, acc, out);
	return PAI_OK;
}

/* Which dimensions a node reduces: attribute or input `axes`; absent or empty: all, or none with
 * noop_with_empty_axes. */
static pai_status reduced_axes(const pai_call *c, bool *over)
{
	const pai_tensor *x = c->in[0], *given = c->n_in > 1 ? c->in[1] : NULL;
	const int64_t *axes = NULL;
	int64_t n = 0;
	if (given)
		n = pai_tensor_nelem(given);
	else if (pai_node_attr(c->node, "axes"))
		n = pai_node_ints(c->node, "axes", &axes);
	bool all = n <= 0 && !pai_node_int(c->node, "noop_with_empty_axes", 0);
	for (int d = 0; d < x->rank; d++)
		over[d] = all;
	for (int64_t i = 0; i < n; i++) {
		int64_t axis = given ? pai_tensor_get_int(given, i) : axes[i];
		if (axis < -x->rank || axis >= x->rank)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					"axis %lld, but the input has %d dimensions",
					(long long)axis, x->rank);
		over[axis < 0 ? axis + x->rank : axis] = true;
	}
	return PAI_OK;
}

static pai_status prepare(pai_call *c, bool *over)
{
	const pai_tensor *x = c->in[0];
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no numbers");
	PAI_TRY(reduced_axes(c, over));
	bool keep = pai_node_int(c->node, "keepdims", 1) != 0;
	int64_t dims[PAI_MAX_RANK];
	int rank = 0;
	for (int d = 0; d < x->rank; d++)
		if (!over[d] || keep)
			dims[rank++] = over[d] ? 1 : x->dims[d];
	return pai_call_output(c, 0, x->dtype, rank, dims);
}

static pai_status reduce(pai_call *c)
{
	bool over[PAI_MAX_RANK];
	PAI_TRY(prepare(c, over));
	return pai_reduce(c, c->kernel->data, c->in[0], over, c->out[0]);
}

/* log(sum(exp(x))) as max + log(sum(exp(x - max))); an empty sum gives -inf, and an
 * infinity itself. */
REDUCE(exp_sum_f64, double, 0, a + exp(v), a + v)
PAI_LOOP2(shift_f64, double, f64, T, isinf(b) ? a : a - b)
PAI_LOOP2(unshift_f64, double, f64, T, isinf(b) ? log(a) : log(a) + b)

static pai_status reduce_log_sum_exp(pai_call *c)
{
	static const pai_reduction exp_sum = {.f64 = LANE(exp_sum, f64, 0, NULL)};
	static const pai_elementwise shift = {.loop[PAI_LANE_F64] = shift_f64},
				     unshift = {.loop[PAI_LANE_F64] = unshift_f64};
	const pai_tensor *x = c->in[0];
	const pai_params none = {{0}};
	bool over[PAI_MAX_RANK];
	PAI_TRY(prepare(c, over));
	int64_t kept[PAI_MAX_RANK], n = pai_tensor_nelem(x), results = pai_tensor_nelem(c->out[0]);
	for (int d = 0; d < x->rank; d++)
		kept[d] = over[d] ? 1 : x->dims[d];
	pai_tensor wide = {.dtype = PAI_DOUBLE, .rank = x->rank, .dims = x->dims};
	pai_tensor top = {.dtype = PAI_DOUBLE, .rank = x->rank, .dims = kept}, sum = top;
	wide.data = pai_call_scratch(c, sizeof(double) * (size_t)(n + 1));
	top.data = pai_call_scratch(c, sizeof(double) * (size_t)(results + 1));
	sum.data = pai_call_scratch(c, sizeof(double) * (size_t)(results + 1));
	if (!wide.data || !top.data || !sum.data)
		return pai_call_nomem(c);
	pai_lane_load(PAI_LANE_F64, wide.data, x->dtype, x->data, 0, n);
	PAI_TRY(pai_reduce(c, &most, &wide, over, &top));
	const pai_operand both[2] = {{&wide, 0}, {&top, 0}}, ends[2] = {{&sum, 0}, {&top, 0}};
	PAI_TRY(pai_elementwise_apply(c, &shift, PAI_LANE_F64, 2, both, &wide, &none));
	PAI_TRY(pai_reduce(c, &exp_sum, &wide, over, &sum));
	PAI_TRY(pai_elementwise_apply(c, &unshift, PAI_LANE_F64, 2, ends, &sum, &none));
	pai_lane_store(PAI_LANE_F64, sum.data, c->out[0]->dtype, c->out[0]->data, 0, results);
	return PAI_OK;
}
const pai_kernel pai_kernel_reduce_log_sum_exp = {.run = reduce_log_sum_exp};

const pai_kernel pai_kernel_reduce_sum = {.run = reduce, .data = &pai_reduction_sum};
const pai_kernel pai_kernel_reduce_mean = {.run = reduce, .data = &mean};
const pai_kernel pai_kernel_reduce_max = {.run = reduce, .data = &most};
const pai_kernel pai_kernel_reduce_min = {.run = reduce, .data = &least};
const pai_kernel pai_kernel_reduce_prod = {.run = reduce, .data = &prod};
const pai_kernel pai_kernel_reduce_l1 = {.run = reduce, .data = &l1};
const pai_kernel pai_kernel_reduce_l2 = {.run = reduce, .data = &l2};
const pai_kernel pai_kernel_reduce_log_sum = {.run = reduce, .data = &log_sum};
const pai_kernel pai_kernel_reduce_sum_square = {.run = reduce, .data = &sum_square};
