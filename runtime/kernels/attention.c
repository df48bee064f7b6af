/* attention.c -- Attention: softmax(scale Q K^T + bias) V for each batch and head. The arithmetic
 * is double.
 *
 * Operands are [batch, heads, length, size], or [batch, length, heads * size]. Keys and values of
 * the past stand before those given. A head of K and V serves as many heads of Q as there are more
 * of those. The bias is the sum of the mask and of -inf where a query may not look; a query that
 * may look nowhere gives 0.
 */
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

enum { Q, K, V, MASK, PAST_K, PAST_V, LENGTHS }; /* inputs */
enum { RAW, CAPPED, BIASED, SOFT };              /* qk_matmul_output_mode */

typedef struct heads { /* an operand as [batch, count, length, size], strides in elements */
	int64_t batch, count, length, size;
	int64_t at_batch, at_head, at_row;
} heads;

typedef struct attention {
	heads q, k, v;
	int64_t past, total;   /* keys; total with those of the past */
	const double *x;       /* Q */
	double *keys, *values; /* [batch, count, total, size] */
	const double *mask;    /* NULL: none; of bool: 0 and -inf */
	int64_t mask_dims[4], mask_step[4];
	const pai_tensor *lengths; /* keys that count, of each batch; NULL: all */
	bool causal;
	double scale, cap;
	int64_t mode;
	double *scores, *bias, *y; /* [q.length, total] both, [q.length, v.size] */
	double *gemm;
} attention;

static const pai_tensor *input(const pai_call *c, int slot)
{
	return slot < c->n_in ? c->in[slot] : NULL;
}

static pai_status wrong(pai_call *c, int slot, const char *why)
{
	return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, slot), "%s", why);
}

static pai_status read_heads(pai_call *c, int slot, const char *attr, heads *h)
{
	const pai_tensor *t = c->in[slot];
	const int64_t *d = t->dims, n = pai_node_int(c->node, attr, 0);
	if (pai_lane_of(t->dtype) == PAI_LANE_NONE || (t->rank != 3 && t->rank != 4))
		return wrong(c, slot, "is no tensor of numbers of rank 3 or 4");
	if (t->rank == 4) {
		*h = (heads){d[0], d[1], d[2], d[3], d[1] * d[2] * d[3], d[2] * d[3], d[3]};
		return PAI_OK;
	}
	if (n < 1 || d[2] % n)
		return wrong(c, slot,
			     "has a last dimension that its number of heads does not divide");
	*h = (heads){d[0], n, d[1], d[2] / n, d[1] * d[2], d[2] / n, d[2]};
	return PAI_OK;
}

/* The past, then what is given, as double in [batch, count, total, size]. */
static pai_status join(pai_call *c, const attention *a, int slot, int past, const heads *h,
		       double **out)
{
	const pai_tensor *t = c->in[slot], *before = input(c, past);
	void *room = NULL;
	PAI_TRY(pai_call_room(c, h->batch * h->count * a->total, (size_t)(h->size + 1) * 8, &room));
	double *to = room;
	for (int64_t i = 0; i < h->batch * h->count; i++) {
		int64_t at = i / h->count * h->at_batch + i % h->count * h->at_head;
		int64_t n = a->past * h->size;
		if (before)
			pai_lane_load(PAI_LANE_F64, to, before->dtype, before->data, i * n, n);
		to += n;
		for (int64_t r = 0; r < h->length; r++, to += h->size)
			pai_lane_load(PAI_LANE_F64, to, t->dtype, t->data, at + r * h->at_row,
				      h->size);
	}
	*out = room;
	return PAI_OK;
}

static pai_status check_past(pai_call *c, int slot, const heads *h, int64_t length)
{
	const pai_tensor *t = input(c, slot);
	bool fits = t && t->rank == 4 && t->dims[0] == h->batch && t->dims[1] == h->count &&
		    t->dims[2] == length && t->dims[3] == h->size &&
		    pai_lane_of(t->dtype) != PAI_LANE_NONE;
	return fits ? PAI_OK : wrong(c, slot, "does not have the shape of the past of its operand");
}

static pai_status read_operands(pai_call *c, attention *a)
{
	PAI_TRY(read_heads(c, Q, "q_num_heads", &a->q));
	PAI_TRY(read_heads(c, K, "kv_num_heads", &a->k));
	PAI_TRY(read_heads(c, V, "kv_num_heads", &a->v));
	const heads *q = &a->q, *k = &a->k, *v = &a->v;
	if (q->batch != k->batch || q->size != k->size || k->count < 1 || q->count % k->count)
		return wrong(c, K, "does not fit the batch, the heads or the head size of Q");
	if (v->batch != k->batch || v->count != k->count || v->length != k->length)
		return wrong(c, V, "does not fit the batch, the heads or the length of K");
	const pai_tensor *past = input(c, PAST_K);
	a->past = past && past->rank == 4 ? past->dims[2] : 0;
	if (past || input(c, PAST_V)) {
		PAI_TRY(check_past(c, PAST_K, k, a->past));
		PAI_TRY(check_past(c, PAST_V, v, a->past));
	}
	a->total = a->past + k->length;
	PAI_TRY(join(c, a, K, PAST_K, k, &a->keys));
	PAI_TRY(join(c, a, V, PAST_V, v, &a->values));
	a->x = pai_lane_view(c, PAI_LANE_F64, c->in[Q]);
	return a->x ? PAI_OK : pai_call_nomem(c);
}

/* The mask broadcasts to [batch, heads, length, total], where its last dimension may be shorter. */
static pai_status read_mask(pai_call *c, attention *a)
{
	const pai_tensor *t = input(c, MASK);
	const int64_t whole[4] = {a->q.batch, a->q.count, a->q.length, a->total};
	int64_t step = 1;
	void *room = NULL;
	if (!t)
		return PAI_OK;
	if (t->rank < 1 || t->rank > 4 || pai_lane_of(t->dtype) == PAI_LANE_NONE)
		return wrong(c, MASK, "is no mask of rank 1 to 4");
	for (int i = 3, d = t->rank - 1; i >= 0; i--, d--) {
		int64_t n = d >= 0 ? t->dims[d] : 1;
		if (n != 1 && n != whole[i] && (i < 3 || n > whole[i]))
			return wrong(c, MASK,
				     "does not broadcast to [batch, heads, queries, keys]");
		a->mask_dims[i] = n;
		a->mask_step[i] = n == 1 ? 0 : step;
		step *= n;
	}
	int64_t n = pai_tensor_nelem(t);
	PAI_TRY(pai_call_room(c, n, sizeof(double), &room));
	double *to = room;
	pai_lane_load(PAI_LANE_F64, to, t->dtype, t->data, 0, n);
	for (int64_t i = 0; t->dtype == PAI_BOOL && i < n; i++)
		to[i] = to[i] != 0 ? 0 : -INFINITY;
	a->mask = to;
	return PAI_OK;
}

static pai_status read_attributes(pai_call *c, attention *a)
{
	const pai_attr *scale = pai_node_attr(c->node, "scale");
	a->lengths = input(c, LENGTHS);
	a->causal = pai_node_int(c->node, "is_causal", 0) != 0;
	a->cap = (double)pai_node_float(c->node, "softcap", 0);
	a->scale = scale ? (double)scale->f : 1 / sqrt((double)a->q.size);
	a->mode = pai_node_int(c->node, "qk_matmul_output_mode", 0);
	if (a->mode < RAW || a->mode > SOFT)
		return pai_fail(c->ctx, PAI_E_bad_input,
				pai_at_attr(c->node, "qk_matmul_output_mode"), "is %lld",
				(long long)a->mode);
	if (a->lengths && (a->lengths->dtype != PAI_INT64 || a->lengths->rank != 1 ||
			   a->lengths->dims[0] != a->q.batch))
		return wrong(c, LENGTHS, "is not one int64 for each of the batch");
	return PAI_OK;
}

static pai_status take_room(pai_call *c, attention *a)
{
	size_t first, second;
	void *room[4] = {NULL};
	if (!pai_gemm_scratch(PAI_DOUBLE, a->q.length, a->q.size, &first) ||
	    !pai_gemm_scratch(PAI_DOUBLE, a->q.length, a->total, &second))
		first = second = SIZE_MAX;
	PAI_TRY(pai_call_room(c, a->q.length, (size_t)a->total * 8, &room[0]));
	PAI_TRY(pai_call_room(c, a->q.length, (size_t)a->total * 8, &room[1]));
	PAI_TRY(pai_call_room(c, a->q.length, (size_t)a->v.size * 8, &room[2]));
	PAI_TRY(pai_call_room(c, 1, first > second ? first : second, &room[3]));
	a->scores = room[0];
	a->bias = room[1];
	a->y = room[2];
	a->gemm = room[3];
	return PAI_OK;
}

/* bias [length, total] of a batch and head */
static void fill_bias(const attention *a, int64_t b, int64_t h)
{
	int64_t count = a->lengths ? pai_tensor_get_int(a->lengths, b) : a->total;
	int64_t offset = a->lengths && !a->past ? count - a->q.length : a->past;
	const double *mask = a->mask;
	if (mask)
		mask += b * a->mask_step[0] + h * a->mask_step[1];
	for (int64_t i = 0; i < a->q.length; i++)
		for (int64_t j = 0; j < a->total; j++) {
			double *to = &a->bias[i * a->total + j];
			bool seen = j < count && (!a->causal || j <= i + offset);
			*to = seen ? 0 : -INFINITY;
			if (mask && seen)
				*to = a->mask_dims[3] > 1 && j >= a->mask_dims[3]
					      ? -INFINITY
					      : mask[i * a->mask_step[2] + j * a->mask_step[3]];
		}
}

static void softmax_row(double *x, const double *bias, int64_t n)
{
	double most = -INFINITY, seen = -INFINITY, sum = 0;
	for (int64_t j = 0; j < n; j++) {
		most = x[j] > most || isnan(x[j]) ? x[j] : most;
		seen = bias[j] > seen || isnan(bias[j]) ? bias[j] : seen;
	}
	for (int64_t j = 0; j < n; j++)
		sum += x[j] = seen == -INFINITY ? 0 : exp(x[j] - most);
	for (int64_t j = 0; j < n && sum != 0; j++)
		x[j] /= sum;
}

/* Scores of one batch and head as output 3 takes them, when they are at that point. */
static void give_scores(pai_call *c, const attention *a, int64_t mode, int64_t at)
{
	pai_tensor *t = c->n_out > 3 ? c->out[3] : NULL;
	int64_t n = a->q.length * a->total;
	if (t && mode == a->mode)
		pai_lane_store(PAI_LANE_F64, a->scores, t->dtype, t->data, at * n, n);
}

static void one_head(pai_call *c, attention *a, int64_t b, int64_t h)
{
	const heads *q = &a->q, *k = &a->k, *v = &a->v;
	int64_t kv = b * k->count + h / (q->count / k->count), n = q->length * a->total;
	const double *x = a->x + b * q->at_batch + h * q->at_head;
	const double *keys = a->keys + kv * a->total * k->size;
	const double *values = a->values + kv * a->total * v->size;
	pai_tensor *y = c->out[0];
	double *s = a->scores;
	pai_gemm(PAI_DOUBLE, q->length, a->total, q->size, (pai_matrix){x, q->at_row, 1},
		 (pai_matrix){keys, 1, k->size}, s, a->total, false, a->gemm);
	for (int64_t i = 0; i < n; i++)
		s[i] *= a->scale;
	give_scores(c, a, RAW, b * q->count + h);
	for (int64_t i = 0; a->cap > 0 && i < n; i++)
		s[i] = a->cap * tanh(s[i] / a->cap);
	give_scores(c, a, CAPPED, b * q->count + h);
	fill_bias(a, b, h);
	for (int64_t i = 0; i < n; i++)
		s[i] += a->bias[i];
	give_scores(c, a, BIASED, b * q->count + h);
	for (int64_t i = 0; i < q->length; i++)
		softmax_row(s + i * a->total, a->bias + i * a->total, a->total);
	give_scores(c, a, SOFT, b * q->count + h);
	pai_gemm(PAI_DOUBLE, q->length, v->size, a->total, (pai_matrix){s, a->total, 1},
		 (pai_matrix){values, v->size, 1}, a->y, v->size, false, a->gemm);
	int64_t row = y->rank == 4 ? v->size : q->count * v->size;
	int64_t at = y->rank == 4 ? (b * q->count + h) * q->length * v->size
				  : b * q->length * row + h * v->size;
	for (int64_t i = 0; i < q->length; i++)
		pai_lane_store(PAI_LANE_F64, a->y + i * v->size, y->dtype, y->data, at + i * row,
			       v->size);
}

static pai_status give_shapes(pai_call *c, const attention *a)
{
	const pai_dtype t = c->in[Q]->dtype;
	const int64_t b = a->q.batch, n = a->q.count, l = a->q.length;
	const int64_t y4[] = {b, n, l, a->v.size}, y3[] = {b, l, n * a->v.size};
	const int64_t keys[] = {b, a->k.count, a->total, a->k.size};
	const int64_t values[] = {b, a->k.count, a->total, a->v.size};
	const int64_t scores[] = {b, n, l, a->total};
	PAI_TRY(pai_call_output(c, 0, t, c->in[Q]->rank, c->in[Q]->rank == 4 ? y4 : y3));
	if (c->n_out > 1)
		PAI_TRY(pai_call_output(c, 1, c->in[K]->dtype, 4, keys));
	if (c->n_out > 2)
		PAI_TRY(pai_call_output(c, 2, c->in[V]->dtype, 4, values));
	return c->n_out > 3 ? pai_call_output(c, 3, t, 4, scores) : PAI_OK;
}

/* Every row of Q meets every key and value, those of the past too; a power for each score. */
static pai_status charge(pai_call *c, const attention *a)
{
	double rows = (double)a->q.batch * (double)a->q.count * (double)a->q.length;
	double each = (double)a->q.size + (double)a->v.size + 60;
	return pai_budget_work(c->ctx, pai_at_node(c->node), rows * (double)a->total * each);
}

static pai_status run(pai_call *c)
{
	attention a = {.past = 0};
	PAI_TRY(read_operands(c, &a));
	PAI_TRY(charge(c, &a));
	PAI_TRY(read_mask(c, &a));
	PAI_TRY(read_attributes(c, &a));
	PAI_TRY(give_shapes(c, &a));
	PAI_TRY(take_room(c, &a));
	const double *const present[2] = {a.keys, a.values};
	for (int o = 1; o < 3 && o < c->n_out; o++)
		if (c->out[o])
			pai_lane_store(PAI_LANE_F64, present[o - 1], c->out[o]->dtype,
				       c->out[o]->data, 0, pai_tensor_nelem(c->out[o]));
	for (int64_t b = 0; b < a.q.batch; b++)
		for (int64_t h = 0; h < a.q.count; h++)
			one_head(c, &a, b, h);
	return PAI_OK;
}

const pai_kernel pai_kernel_attention = {.run = run};
