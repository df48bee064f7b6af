/* elementwise.c -- the engine under the elementwise kernels: broadcasting, rows, conversion. */
#include "runtime/kernels/elementwise.h"
#include <string.h>

/* A broadcast, dimensions of size 1 dropped and neighbours joined where every operand allows: the
 * last dimension is the row, in which an operand moves by one element or not at all. */
typedef struct walk {
	int rank; /* >= 1 */
	int64_t dims[PAI_MAX_RANK];
	int64_t step[PAI_OPERANDS][PAI_MAX_RANK]; /* elements to the next index of a dimension */
} walk;

/* Size of the operand along dimension d of a result of that rank; 1 where it has none. */
static int64_t operand_dim(const pai_operand *o, int rank, int d)
{
	int at = d - (rank - o->skip - o->t->rank);
	return at >= 0 && at < o->t->rank ? o->t->dims[at] : 1;
}

/* True where a dimension goes on from the last one of the walk in every operand. */
static bool joins_last(const walk *w, int n, int64_t dim, const int64_t *step)
{
	if (w->rank == 0)
		return false;
	int last = w->rank - 1;
	for (int k = 0; k < n; k++)
		if (w->dims[last] != 1 && w->step[k][last] != step[k] * dim)
			return false;
	return true;
}

static void walk_push(walk *w, int n, int64_t dim, const int64_t *step)
{
	if (dim == 1 && w->rank > 0)
		return;
	bool joins = joins_last(w, n, dim, step);
	int at = joins ? w->rank - 1 : w->rank++;
	w->dims[at] = joins ? w->dims[at] * dim : dim;
	for (int k = 0; k < n; k++)
		w->step[k][at] = step[k];
}

static void walk_init(walk *w, int n, const pai_operand *in, int rank, const int64_t *dims)
{
	int64_t step[PAI_MAX_RANK][PAI_OPERANDS];
	for (int k = 0; k < n; k++) {
		int64_t below = 1;
		for (int d = rank - 1; d >= 0; d--) {
			int64_t size = operand_dim(&in[k], rank, d);
			step[d][k] = size == 1 ? 0 : below;
			below *= size;
		}
	}
	w->rank = 0;
	for (int d = 0; d < rank; d++)
		walk_push(w, n, dims[d], step[d]);
	if (w->rank == 0)
		walk_push(w, n, 1, (const int64_t[PAI_OPERANDS]){0});
}

typedef struct row_job {
	const pai_elementwise *e;
	pai_lane lane;
	int n; /* operands */
	const pai_operand *in;
	pai_tensor *out;
	const pai_params *params;
	pai_chunk *chunk; /* [n + 1] */
} row_job;

/* One row on the operands' own memory where that is in the lane, in chunks through buffers where it
 * is not. */
static void run_row(const void *payload, int64_t length, const int64_t *at, const bool *one,
		    int64_t out_at)
{
	const row_job *j = payload;
	pai_dtype out_type = j->out->dtype;
	bool own_out = j->e->truth || pai_lane_direct(j->lane, out_type);
	bool own = own_out;
	for (int k = 0; k < j->n; k++)
		own = own && pai_lane_direct(j->lane, j->in[k].t->dtype);
	size_t width = pai_lane_size(j->lane), out_width = j->e->truth ? 1 : width;
	int64_t step = own ? length : PAI_CHUNK;
	for (int64_t i = 0; i < length; i += step) {
		int64_t m = length - i < step ? length - i : step;
		const void *from[PAI_OPERANDS] = {NULL};
		for (int k = 0; k < j->n; k++) {
			const pai_tensor *t = j->in[k].t;
			int64_t first = at[k] + (one[k] ? 0 : i);
			if (pai_lane_direct(j->lane, t->dtype)) {
				from[k] = (const char *)t->data + (size_t)first * width;
				continue;
			}
			pai_lane_load(j->lane, &j->chunk[k], t->dtype, t->data, first,
				      one[k] ? 1 : m);
			from[k] = &j->chunk[k];
		}
		void *to = own_out ? (char *)j->out->data + (size_t)(out_at + i) * out_width
				   : (void *)&j->chunk[j->n];
		j->e->loop[j->lane](m, to, from, one, j->params);
		if (!own_out)
			pai_lane_store(j->lane, to, out_type, j->out->data, out_at + i, m);
	}
}

void pai_each_row(int n, const pai_operand *in, const pai_tensor *out, pai_row_fn fn,
		  const void *payload)
{
	int64_t total = pai_tensor_nelem(out);
	if (total == 0)
		return;
	walk w;
	walk_init(&w, n, in, out->rank, out->dims);
	int row = w.rank - 1;
	int64_t index[PAI_MAX_RANK] = {0}, at[PAI_OPERANDS] = {0};
	bool one[PAI_OPERANDS];
	for (int k = 0; k < n; k++)
		one[k] = w.step[k][row] == 0;
	for (int64_t done = 0; done < total; done += w.dims[row]) {
		fn(payload, w.dims[row], at, one, done);
		for (int d = row - 1; d >= 0; d--) {
			for (int k = 0; k < n; k++)
				at[k] += w.step[k][d];
			if (++index[d] < w.dims[d])
				break;
			for (int k = 0; k < n; k++)
				at[k] -= w.step[k][d] * w.dims[d];
			index[d] = 0;
		}
	}
}

pai_status pai_elementwise_apply(pai_call *c, const pai_elementwise *e, pai_lane lane, int n,
				 const pai_operand *in, pai_tensor *out, const pai_params *params)
{
	row_job job = {.e = e, .lane = lane, .n = n, .in = in, .out = out, .params = params};
	job.chunk = pai_call_scratch(c, sizeof(pai_chunk) * (size_t)(n + 1));
	if (!job.chunk)
		return pai_call_nomem(c);
	pai_each_row(n, in, out, run_row, &job);
	return PAI_OK;
}

pai_status pai_broadcast_dims(pai_call *c, int n, const pai_operand *in, int *rank, int64_t *dims)
{
	*rank = 0;
	for (int k = 0; k < n; k++)
		if (in[k].t->rank + in[k].skip > *rank)
			*rank = in[k].t->rank + in[k].skip;
	for (int d = 0; d < *rank; d++) {
		dims[d] = 1;
		for (int k = 0; k < n; k++) {
			int64_t size = operand_dim(&in[k], *rank, d);
			if (size != 1 && dims[d] != 1 && size != dims[d])
				return pai_fail(
					c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, k),
					"dimension %d has %lld elements, expected %lld or 1", d,
					(long long)size, (long long)dims[d]);
			if (size != 1)
				dims[d] = size;
		}
	}
	return PAI_OK;
}

/* Before opset 7, `broadcast` = 1 lines the second operand up with the first from `axis` on;
 * without `axis` on the right. */
void pai_call_operands(const pai_call *c, int n, pai_operand *out)
{
	for (int k = 0; k < n; k++)
		out[k] = (pai_operand){c->in[k], 0};
	if (n != 2 || !pai_op_attr_find(c->node->op, "broadcast"))
		return;
	int64_t axis = pai_node_int(c->node, "axis", -1);
	if (pai_node_int(c->node, "broadcast", 0) && axis >= 0) {
		int64_t skip = c->in[0]->rank - axis - c->in[1]->rank;
		out[1].skip = skip > 0 ? (int)skip : 0;
	}
}

/* Double where the operator has no loop of its own for the type: Erf of integers. */
static pai_lane lane_for(const pai_elementwise *e, pai_dtype dtype)
{
	pai_lane lane = pai_lane_of(dtype);
	return lane == PAI_LANE_NONE || e->loop[lane] ? lane : PAI_LANE_F64;
}

static pai_params node_params(const pai_call *c, const pai_elementwise *e, pai_lane lane)
{
	pai_params p = {{0}};
	for (int i = 0; i < PAI_PARAMS && e->attrs[i]; i++) {
		float v = pai_node_float(c->node, e->attrs[i], 0);
		if (lane == PAI_LANE_F32)
			p.f32[i] = v;
		else
			p.f64[i] = (double)v;
	}
	return p;
}

pai_status pai_elementwise_call(pai_call *c, const pai_elementwise *e, int n, int like,
				const pai_params *params)
{
	pai_operand in[PAI_OPERANDS];
	for (int k = 0; k < n; k++)
		if (k >= c->n_in || !c->in[k] || pai_lane_of(c->in[k]->dtype) == PAI_LANE_NONE)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, k),
					"is missing or has no numbers");
	pai_call_operands(c, n, in);
	pai_lane lane = lane_for(e, c->in[like]->dtype);
	if (!e->loop[lane])
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, like),
				"is of a type that the operator does not take");
	int rank;
	int64_t dims[PAI_MAX_RANK];
	PAI_TRY(pai_broadcast_dims(c, n, in, &rank, dims));
	PAI_TRY(pai_call_output(c, 0, e->truth ? PAI_BOOL : c->in[like]->dtype, rank, dims));
	pai_params own = node_params(c, e, lane);
	return pai_elementwise_apply(c, e, lane, n, in, c->out[0], params ? params : &own);
}

pai_status pai_unary_run(pai_call *c)
{
	return pai_elementwise_call(c, c->kernel->data, 1, 0, NULL);
}

pai_status pai_binary_run(pai_call *c)
{
	return pai_elementwise_call(c, c->kernel->data, 2, 0, NULL);
}

pai_status pai_ternary_run(pai_call *c)
{
	return pai_elementwise_call(c, c->kernel->data, 3, 0, NULL);
}
