/* batch_normalization.c -- BatchNormalization in both modes, and its gradient.
 *
 * With given statistics it is a (x - m) + b of each channel, in whatever order the channels are. In
 * training mode, and for gradients, channels are last in memory, so that sums run down columns:
 * in float over blocks of rows, and in double over the blocks, which are the same for any number of
 * threads. */
#include "runtime/fast/fast.h"
#include <math.h>

enum { BLOCK = 256, WIDE = 64 }; /* rows of a partial sum; columns worth a row */

typedef struct norm_step {
	const pai_own *own;
	const pai_tensor *x, *y, *scale, *bias, *mean, *var; /* bias NULL: of a gradient */
	const pai_tensor *next_mean, *next_var;              /* running; NULL: not wanted */
	const pai_tensor *dy, *dscale, *dbias;               /* of a gradient; sums may be NULL */
	float *a, *b, *c, *m, *partial; /* [columns] coefficients, [channels], [blocks, channels] */
	const pai_tensor *room;
	int64_t n, channels, inner, columns, blocks;
	double epsilon, momentum;
	bool last, training, relu;
	int threads;
} norm_step;

/* What lies in the room of the step: its address is not known before the run. */
static void set_room(norm_step *s)
{
	s->a = s->room->data;
	s->b = s->a + s->columns;
	s->c = s->b + s->columns;
	s->m = s->c + s->columns;
	s->partial = s->m + s->columns;
}

static size_t room_bytes(const norm_step *s, bool sums)
{
	int64_t partial = sums ? (s->blocks + 1) * s->channels : 0;
	return sizeof(float) * (size_t)(4 * s->columns + partial);
}

/* Coefficients of one channel, for all columns of it. */
static void put(const norm_step *s, float *to, int64_t channel, double v)
{
	for (int64_t i = channel; i < s->columns; i += s->channels)
		to[i] = (float)v;
}

static double inverse(const norm_step *s, double var)
{
	return 1 / sqrt(var + s->epsilon);
}

static void set_affine(const norm_step *s, int64_t k, double mean, double var)
{
	double a = (double)((const float *)s->scale->data)[k] * inverse(s, var);
	put(s, s->a, k, a);
	put(s, s->m, k, mean);
	put(s, s->b, k, (double)((const float *)s->bias->data)[k]);
}

typedef struct sums {
	const norm_step *s;
	const float *of, *mean, *with; /* mean NULL: plain sums */
} sums;

static void sum_blocks(void *args, int64_t lo, int64_t hi, int thread)
{
	const sums *q = args;
	int64_t c = q->s->channels, all = q->s->n * q->s->inner;
	(void)thread;
	for (int64_t i = lo; i < hi; i++) {
		int64_t from = i * BLOCK, rows = all - from < BLOCK ? all - from : BLOCK;
		float *to = q->s->partial + i * c;
		if (q->mean)
			q->s->own->moments(rows, c, q->of + from * c, q->mean,
					   q->with ? q->with + from * c : NULL, to);
		else
			q->s->own->sum_rows(rows, c, q->of + from * c, c, to);
	}
}

/* Sum over rows of channel k, after a pass. */
static double total(const norm_step *s, int64_t k)
{
	double sum = 0;
	for (int64_t i = 0; i < s->blocks; i++)
		sum += (double)s->partial[i * s->channels + k];
	return sum;
}

static void pass(const norm_step *s, const float *of, const float *mean, const float *with)
{
	sums q = {s, of, mean, with};
	pai_parallel(s->threads, s->blocks, sum_blocks, &q);
}

/* s->m becomes the mean of the batch. */
static void find_mean(const norm_step *s)
{
	double count = (double)(s->n * s->inner);
	pass(s, s->x->data, NULL, NULL);
	for (int64_t k = 0; k < s->channels; k++)
		s->m[k] = (float)(total(s, k) / count);
}

static void apply_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const norm_step *s = args;
	(void)thread;
	const float *x = s->x->data;
	float *y = s->y->data;
	if (!s->last) {
		for (int64_t i = lo * s->channels * s->inner, to = hi * s->channels * s->inner;
		     i < to; i += s->channels * s->inner)
			s->own->affine(s->channels, s->inner, x + i, s->m, s->a, s->b, 0, s->relu,
				       y + i);
		return;
	}
	int64_t all = s->n * s->inner * s->channels, from = lo * s->columns,
		to = hi * s->columns < all ? hi * s->columns : all;
	int64_t rows = (to - from) / s->columns, rest = (to - from) % s->columns;
	const float *dy = s->dy ? s->dy->data : NULL;
	for (int part = 0; part < 2; part++, from += rows * s->columns, rows = 1) {
		int64_t n = part ? rest : s->columns;
		if (part && !rest)
			break;
		if (dy)
			s->own->blend(rows, n, dy + from, s->a, x + from, s->m, s->b, s->c,
				      y + from);
		else
			s->own->affine(rows, n, x + from, s->m, s->a, s->b, 1, s->relu, y + from);
	}
}

static void apply(norm_step *s)
{
	int64_t all = s->n * s->inner * s->channels;
	pai_parallel(s->threads, s->last ? (all + s->columns - 1) / s->columns : s->n, apply_range,
		     s);
}

static pai_status run_given(void *args, pai_run *run)
{
	norm_step *s = args;
	(void)run;
	set_room(s);
	for (int64_t k = 0; k < s->channels; k++)
		set_affine(s, k, (double)((const float *)s->mean->data)[k],
			   (double)((const float *)s->var->data)[k]);
	apply(s);
	return PAI_OK;
}

static void move_statistic(const norm_step *s, const pai_tensor *old, const pai_tensor *next,
			   int64_t k, double now)
{
	if (next)
		((float *)next->data)[k] =
			(float)((double)((const float *)old->data)[k] * s->momentum +
				now * (1 - s->momentum));
}

static pai_status run_training(void *args, pai_run *run)
{
	norm_step *s = args;
	double count = (double)(s->n * s->inner);
	(void)run;
	set_room(s);
	find_mean(s);
	pass(s, s->x->data, s->m, NULL);
	for (int64_t k = 0; k < s->channels; k++) {
		double mean = (double)s->m[k], var = total(s, k) / count;
		set_affine(s, k, mean, var);
		move_statistic(s, s->mean, s->next_mean, k, mean);
		move_statistic(s, s->var, s->next_var, k, var);
	}
	apply(s);
	return PAI_OK;
}

/* See kernels/batch_normalization.c: dx = scale r (dy - mean(dy) - u mean(dy u)), u = (x - m) r. */
static pai_status run_grad(void *args, pai_run *run)
{
	norm_step *s = args;
	double count = (double)(s->n * s->inner);
	float *r = NULL;
	(void)run;
	set_room(s);
	r = s->partial + s->blocks * s->channels;
	if (s->training) {
		find_mean(s);
		pass(s, s->x->data, s->m, NULL);
	}
	for (int64_t k = 0; k < s->channels; k++) {
		double var = s->training ? total(s, k) / count
					 : (double)((const float *)s->var->data)[k];
		r[k] = (float)inverse(s, var);
		if (!s->training)
			s->m[k] = ((const float *)s->mean->data)[k];
	}
	pass(s, s->dy->data, NULL, NULL);
	for (int64_t k = 0; k < s->channels; k++) {
		double sum = total(s, k);
		put(s, s->c, k, s->training ? sum / count : 0);
		if (s->dbias)
			((float *)s->dbias->data)[k] = (float)sum;
	}
	pass(s, s->x->data, s->m, s->dy->data);
	for (int64_t k = 0; k < s->channels; k++) {
		double sum = total(s, k),
		       by = (double)((const float *)s->scale->data)[k] * (double)r[k];
		double slope = s->training ? sum / count * (double)r[k] * (double)r[k] : 0;
		put(s, s->a, k, by);
		put(s, s->b, k, -slope);
		put(s, s->m, k, (double)s->m[k]);
		if (s->dscale)
			((float *)s->dscale->data)[k] = (float)(sum * (double)r[k]);
	}
	apply(s);
	return PAI_OK;
}

/* Sizes and settings; NULL where x has none of the shapes served here. */
static norm_step *make(pai_plan *p, const pai_unit *u, const pai_slot *x, bool training)
{
	const pai_tensor *t = &x->tensor;
	if (t->rank < 2 || !pai_tensor_nelem(t) || !pai_node_int(u->node, "spatial", 1))
		return NULL;
	norm_step *s = PAI_NEW(p->arena, norm_step);
	*s = (norm_step){.own = p->own,
			 .n = t->dims[0],
			 .channels = t->dims[1],
			 .inner = 1,
			 .training = training,
			 .epsilon = (double)pai_node_float(u->node, "epsilon", 1e-5f),
			 .momentum = (double)pai_node_float(u->node, "momentum", 0.9f)};
	for (int i = 2; i < t->rank; i++)
		s->inner *= t->dims[i];
	s->columns =
		s->channels * (s->channels < WIDE ? (WIDE + s->channels - 1) / s->channels : 1);
	s->blocks = (s->n * s->inner + BLOCK - 1) / BLOCK;
	s->threads = pai_step_threads(p, 4.0 * (double)pai_tensor_nelem(t));
	return s;
}

static bool are_vectors(const norm_step *s, pai_slot *const *v, int n)
{
	bool are = true;
	for (int i = 0; i < n; i++)
		are &= v[i] && pai_tensor_nelem(&v[i]->tensor) == s->channels;
	return are;
}

static pai_step_info info_of(const pai_plan *p, const pai_unit *u, const pai_tensor *t,
			     double reads)
{
	double n = (double)pai_tensor_nelem(t);
	return (pai_step_info){.node = u->node,
			       .name = u->node->op_type,
			       .impl = p->own->name,
			       .flops = 2 * n * reads,
			       .bytes = 4 * n * (reads + 1)};
}

pai_status pai_fast_batch_normalization(pai_plan *p, pai_unit *u, bool *taken)
{
	bool training = pai_node_int(u->node, "training_mode", 0) != 0;
	bool more = false;
	for (int o = 1; o < u->n_out; o++)
		more |= u->out[o] != NULL;
	if (!pai_unit_is(u, PAI_FLOAT) || u->n_in != 5 || !u->out[0] || (more && !training) ||
	    (u->node->op->since < 7 && !pai_node_int(u->node, "is_test", 0)))
		return PAI_OK;
	norm_step *s = make(p, u, u->in[0], training);
	if (!s || !are_vectors(s, u->in + 1, 4))
		return PAI_OK;
	pai_slot *y = u->out[0], *in[5] = {u->in[0]};
	for (int i = 1; i < 5; i++)
		in[i] = pai_slot_in(p, u->in[i], false);
	pai_unit *relu = pai_following_relu(y);
	if (relu) {
		relu->dead = s->relu = true;
		y = relu->out[0];
	}
	if (training)
		in[0] = pai_slot_in(p, in[0], true);
	pai_slot *to = pai_slot_out(p, y, in[0]->channels_last);
	s->last = in[0]->channels_last || s->inner == 1 || training;
	if (!s->last)
		s->columns = s->channels;
	pai_slot *out[4] = {to, pai_slot_temp(p, room_bytes(s, training))};
	for (int i = 1; i < 3 && i < u->n_out; i++)
		out[i + 1] = u->out[i];
	s->x = &in[0]->tensor;
	s->scale = &in[1]->tensor;
	s->bias = &in[2]->tensor;
	s->mean = &in[3]->tensor;
	s->var = &in[4]->tensor;
	s->y = &to->tensor;
	s->room = &out[1]->tensor;
	s->next_mean = out[2] ? &out[2]->tensor : NULL;
	s->next_var = out[3] ? &out[3]->tensor : NULL;
	pai_step_info info = info_of(p, u, s->x, training ? 3 : 1);
	if (relu)
		info.name = "BatchNormalization+Relu";
	pai_plan_emit(p, (pai_step){training ? run_training : run_given, s}, info, 5, in, 4, out);
	pai_slot_done(p, y, to);
	*taken = true;
	return PAI_OK;
}

/* BatchNormGrad(dY, X, scale, mean, var) -> dX, dscale, dbias */
pai_status pai_fast_batch_norm_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	bool training = pai_node_int(u->node, "training_mode", 0) != 0;
	if (!pai_unit_is(u, PAI_FLOAT) || u->n_in != 5 || !u->out[0] || !u->in[0] || !u->in[1] ||
	    pai_tensor_nelem(&u->in[0]->tensor) != pai_tensor_nelem(&u->in[1]->tensor))
		return PAI_OK;
	norm_step *s = make(p, u, u->in[1], training);
	if (!s || !are_vectors(s, u->in + 2, training ? 1 : 3))
		return PAI_OK;
	pai_slot *in[5];
	for (int i = 0; i < 5; i++)
		in[i] = pai_slot_in(p, u->in[i], i < 2);
	pai_slot *dx = u->out[0], *to = pai_slot_out(p, dx, true);
	pai_slot *out[4] = {to, pai_slot_temp(p, room_bytes(s, true))};
	for (int i = 1; i < 3 && i < u->n_out; i++)
		out[i + 1] = u->out[i];
	s->last = true;
	s->dy = &in[0]->tensor;
	s->x = &in[1]->tensor;
	s->scale = &in[2]->tensor;
	s->mean = in[3] ? &in[3]->tensor : NULL;
	s->var = in[4] ? &in[4]->tensor : NULL;
	s->y = &to->tensor;
	s->room = &out[1]->tensor;
	s->dscale = out[2] ? &out[2]->tensor : NULL;
	s->dbias = out[3] ? &out[3]->tensor : NULL;
	pai_plan_emit(p, (pai_step){run_grad, s}, info_of(p, u, s->x, training ? 6 : 4), 5, in, 4,
		      out);
	pai_slot_done(p, dx, to);
	*taken = true;
	return PAI_OK;
}
