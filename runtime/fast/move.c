/* move.c -- Transpose, Concat, Split, Slice, Expand and Pad: boxes of elements from one place to
 * another. Where channels lie in memory is a matter of strides, so operands are taken in either
 * order, and results keep the order of what they are made of. */
#include "runtime/fast/fast.h"
#include "runtime/kernels/move.h"
#include <string.h>

typedef struct piece {
	const pai_tensor *from, *to;
	size_t from_at, to_at; /* bytes to the first element */
	pai_box box;           /* simplified */
} piece;

typedef struct move_step {
	const pai_own *own;
	size_t size; /* bytes of an element */
	piece *pieces;
	int n;
	const pai_tensor *filled; /* of Pad: all of it is `value` first; NULL: none */
	uint64_t value;
	int threads;
} move_step;

typedef struct part { /* of a piece, by parts of its first dim */
	const move_step *s;
	const piece *p;
} part;

/* The last dim steps over memory of the source, another one does not: the two are turned, block by
 * block. -1: no such dim. */
static int turned_dim(const pai_box *b, size_t size)
{
	int last = b->rank - 1;
	if (size != sizeof(float) || b->rank < 2 || b->to[last] != 1 || b->from[last] < 2)
		return -1;
	for (int i = last - 1; i >= 0; i--)
		if (b->from[i] == 1 && b->dims[i] > 1)
			return i;
	return -1;
}

static void copy_turned(const move_step *s, const pai_box *b, int dim, uint8_t *to,
			const uint8_t *from)
{
	int last = b->rank - 1, outer[PAI_MAX_RANK], n = 0;
	int64_t index[PAI_MAX_RANK] = {0}, step = (int64_t)s->size;
	for (int i = 0; i < last; i++)
		if (i != dim)
			outer[n++] = i;
	for (;;) {
		s->own->transpose(b->dims[last], b->dims[dim], (const float *)from, b->from[last],
				  (float *)to, b->to[dim]);
		int k = n - 1;
		for (; k >= 0; k--) {
			int d = outer[k];
			to += b->to[d] * step;
			from += b->from[d] * step;
			if (++index[k] < b->dims[d])
				break;
			to -= b->to[d] * b->dims[d] * step;
			from -= b->from[d] * b->dims[d] * step;
			index[k] = 0;
		}
		if (k < 0)
			return;
	}
}

static void copy_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const part *q = args;
	pai_box b = q->p->box;
	int64_t size = (int64_t)q->s->size;
	(void)thread;
	uint8_t *to = (uint8_t *)q->p->to->data + q->p->to_at;
	const uint8_t *from = (const uint8_t *)q->p->from->data + q->p->from_at;
	if (b.rank) {
		to += lo * b.to[0] * size;
		from += lo * b.from[0] * size;
		b.dims[0] = hi - lo;
	}
	int dim = turned_dim(&b, q->s->size);
	if (dim >= 0)
		copy_turned(q->s, &b, dim, to, from);
	else
		pai_box_copy(&b, to, from, q->s->size);
}

static pai_status run(void *args, pai_run *run)
{
	const move_step *s = args;
	(void)run;
	if (s->filled)
		pai_fill(s->filled->data, pai_tensor_nelem(s->filled), &s->value, s->size);
	for (int i = 0; i < s->n; i++) {
		part q = {s, &s->pieces[i]};
		pai_parallel(s->threads, q.p->box.rank ? q.p->box.dims[0] : 1, copy_range, &q);
	}
	return PAI_OK;
}

/* Elements between neighbours along each axis, wherever the channels are. */
static void strides_of(const pai_slot *s, int64_t *out)
{
	int64_t step = 1;
	for (int i = s->tensor.rank - 1; i >= 0; i--) {
		int axis = pai_memory_axis(s->tensor.rank, i, s->channels_last);
		out[axis] = step;
		step *= s->tensor.dims[axis];
	}
}

/* Axes in the order of the memory of what is written, so that lines are long. */
static void add_piece(move_step *s, const pai_slot *from, const int64_t *from_at,
		      const int64_t *from_strides, const pai_slot *to, const int64_t *to_at,
		      const int64_t *dims)
{
	int64_t to_strides[PAI_MAX_RANK], a = 0, b = 0;
	int rank = to->tensor.rank;
	pai_box box = {.rank = rank};
	strides_of(to, to_strides);
	for (int i = 0; i < rank; i++) {
		int axis = pai_memory_axis(rank, i, to->channels_last);
		box.dims[i] = dims[axis];
		box.to[i] = to_strides[axis];
		box.from[i] = from_strides[axis];
		a += from_at ? from_at[axis] : 0;
		b += to_at ? to_at[axis] * to_strides[axis] : 0;
	}
	piece *p = &s->pieces[s->n];
	*p = (piece){.from = &from->tensor,
		     .to = &to->tensor,
		     .from_at = (size_t)a * s->size,
		     .to_at = (size_t)b * s->size};
	s->n += pai_box_simplify(&box, &p->box); /* an empty one is no piece */
}

/* All operands have known sizes and elements of whole bytes. first: operands that are moved. */
static bool movable(const pai_unit *u, int first)
{
	bool can = !u->dynamic && u->n_in > 0 && u->in[0];
	for (int i = 0; can && i < first; i++)
		can = u->in[i] && u->in[i]->place != PAI_IN_BUFFER &&
		      u->in[i]->tensor.dtype == u->in[0]->tensor.dtype;
	for (int o = 0; can && o < u->n_out; o++)
		can = u->out[o] && u->out[o]->tensor.rank <= PAI_MAX_RANK;
	return can && u->in[0]->tensor.dtype != PAI_STRING &&
	       pai_dtype_get(u->in[0]->tensor.dtype)->bits % 8 == 0 &&
	       pai_dtype_get(u->in[0]->tensor.dtype)->bits <= 64;
}

static move_step *make(pai_plan *p, const pai_unit *u, int pieces)
{
	move_step *s = PAI_NEW(p->arena, move_step);
	*s = (move_step){.own = p->own,
			 .size = (size_t)pai_dtype_get(u->in[0]->tensor.dtype)->bits / 8};
	s->pieces = PAI_NEWS(p->arena, piece, pieces + 1);
	return s;
}

static void emit(pai_plan *p, const pai_unit *u, move_step *s, int n_in, pai_slot *const *in,
		 int n_out, pai_slot *const *out)
{
	double bytes = 0;
	for (int i = 0; i < n_in; i++)
		bytes += (double)in[i]->tensor.nbytes;
	s->threads = pai_step_threads(p, bytes / 4);
	pai_step_info info = {.node = u->node,
			      .name = u->node->op_type,
			      .impl = p->own->name,
			      .bytes = 2 * bytes};
	pai_plan_emit(p, (pai_step){run, s}, info, n_in, in, n_out, out);
}

/* A piece of one operand to one result; done with it. */
static void emit_one(pai_plan *p, const pai_unit *u, move_step *s, pai_slot *x, pai_slot *to)
{
	emit(p, u, s, 1, &x, 1, &to);
	pai_slot_done(p, u->out[0], to);
}

pai_status pai_fast_transpose(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!movable(u, 1))
		return PAI_OK;
	pai_slot *x = u->in[0], *y = u->out[0];
	int rank = x->tensor.rank;
	const int64_t *perm;
	int n = pai_node_ints(u->node, "perm", &perm);
	if ((n >= 0 && n != rank) || y->tensor.rank != rank)
		return PAI_OK;
	int64_t strides[PAI_MAX_RANK], from[PAI_MAX_RANK];
	strides_of(x, strides);
	for (int i = 0; i < rank; i++) {
		int64_t axis = n < 0 ? rank - 1 - i : perm[i];
		if (axis < 0 || axis >= rank || x->tensor.dims[axis] != y->tensor.dims[i])
			return PAI_OK;
		from[i] = strides[axis];
	}
	move_step *s = make(p, u, 1);
	add_piece(s, x, NULL, from, y, NULL, y->tensor.dims);
	*taken = true;
	/* No step where the bytes stay where they are. */
	bool stays = s->n && s->pieces[0].box.rank <= 1 &&
		     (!s->pieces[0].box.rank ||
		      (s->pieces[0].box.from[0] == 1 && s->pieces[0].box.to[0] == 1));
	if (!stays || !pai_slot_view(x, y))
		emit_one(p, u, s, x, y);
	return PAI_OK;
}

static bool any_last(pai_slot *const *v, int n)
{
	bool last = false;
	for (int i = 0; i < n; i++)
		last |= v[i]->channels_last;
	return last;
}

pai_status pai_fast_concat(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!movable(u, u->n_in))
		return PAI_OK;
	pai_slot *y = u->out[0];
	int rank = y->tensor.rank;
	int64_t axis = pai_node_int(u->node, "axis", 1), at[PAI_MAX_RANK] = {0};
	axis += axis < 0 ? rank : 0;
	if (axis < 0 || axis >= rank)
		return PAI_OK;
	pai_slot *to = pai_slot_out(p, y, any_last(u->in, u->n_in));
	move_step *s = make(p, u, u->n_in);
	for (int i = 0; i < u->n_in; i++) {
		int64_t strides[PAI_MAX_RANK];
		strides_of(u->in[i], strides);
		add_piece(s, u->in[i], NULL, strides, to, at, u->in[i]->tensor.dims);
		at[axis] += u->in[i]->tensor.dims[axis];
	}
	emit(p, u, s, u->n_in, u->in, 1, &to);
	pai_slot_done(p, y, to);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_split(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!movable(u, 1))
		return PAI_OK;
	pai_slot *x = u->in[0], **to = PAI_NEWS(p->arena, pai_slot *, u->n_out + 1);
	int rank = x->tensor.rank;
	int64_t axis = pai_node_int(u->node, "axis", 0), strides[PAI_MAX_RANK], at = 0;
	axis += axis < 0 ? rank : 0;
	if (axis < 0 || axis >= rank)
		return PAI_OK;
	for (int k = 0; k < u->n_out; k++)
		at += u->out[k]->tensor.rank == rank ? u->out[k]->tensor.dims[axis] : -1;
	if (at != x->tensor.dims[axis])
		return PAI_OK;
	move_step *s = make(p, u, u->n_out);
	strides_of(x, strides);
	int64_t from[PAI_MAX_RANK] = {0};
	for (int k = 0; k < u->n_out; k++) {
		to[k] = pai_slot_out(p, u->out[k], x->channels_last);
		add_piece(s, x, from, strides, to[k], NULL, u->out[k]->tensor.dims);
		from[axis] += u->out[k]->tensor.dims[axis] * strides[axis];
	}
	emit(p, u, s, 1, &x, u->n_out, to);
	for (int k = 0; k < u->n_out; k++)
		pai_slot_done(p, u->out[k], to[k]);
	*taken = true;
	return PAI_OK;
}

/* Operands from `first` on are known when the plan is made. */
static bool known(const pai_unit *u, int first)
{
	bool all = true;
	for (int i = first; i < u->n_in; i++)
		all &= !u->in[i] || pai_slot_constant(u->in[i]);
	return all;
}

pai_status pai_fast_slice(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!movable(u, 1) || !known(u, 1))
		return PAI_OK;
	pai_slot *x = u->in[0], *y = u->out[0];
	int rank = x->tensor.rank;
	const pai_tensor **in = PAI_NEWS(p->arena, const pai_tensor *, u->n_in + 1);
	for (int i = 0; i < u->n_in; i++)
		in[i] = u->in[i] ? &u->in[i]->tensor : NULL;
	pai_call call = {.ctx = p->ctx, .node = u->node, .n_in = u->n_in, .in = in};
	pai_range r[PAI_MAX_RANK];
	PAI_TRY(pai_slice_ranges(&call, 1, rank, x->tensor.dims, r));
	int64_t strides[PAI_MAX_RANK], at[PAI_MAX_RANK];
	strides_of(x, strides);
	bool fits = y->tensor.rank == rank;
	for (int i = 0; i < rank; i++) {
		fits = fits && y->tensor.dims[i] == r[i].n;
		at[i] = r[i].n ? r[i].start * strides[i] : 0;
		strides[i] *= r[i].step;
	}
	if (!fits)
		return PAI_OK;
	pai_slot *to = pai_slot_out(p, y, x->channels_last);
	move_step *s = make(p, u, 1);
	add_piece(s, x, at, strides, to, NULL, y->tensor.dims);
	emit_one(p, u, s, x, to);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_expand(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!movable(u, 1) || !known(u, 1))
		return PAI_OK;
	pai_slot *x = u->in[0], *y = u->out[0];
	int rank = y->tensor.rank, shift = rank - x->tensor.rank;
	int64_t strides[PAI_MAX_RANK], from[PAI_MAX_RANK] = {0};
	if (shift < 0)
		return PAI_OK;
	strides_of(x, strides);
	for (int i = shift; i < rank; i++)
		from[i] = x->tensor.dims[i - shift] == 1 ? 0 : strides[i - shift];
	move_step *s = make(p, u, 1);
	add_piece(s, x, NULL, from, y, NULL, y->tensor.dims);
	emit_one(p, u, s, x, y);
	*taken = true;
	return PAI_OK;
}

/* Constant padding, outwards only. */
pai_status pai_fast_pad(pai_plan *p, pai_unit *u, bool *taken)
{
	if (u->node->op->since < 11 || !movable(u, 1) || !known(u, 1) || u->n_in < 2 || !u->in[1] ||
	    (u->n_in > 3 && u->in[3]) ||
	    strcmp(pai_node_string(u->node, "mode", "constant"), "constant") != 0)
		return PAI_OK;
	pai_slot *x = u->in[0], *y = u->out[0], *value = u->n_in > 2 ? u->in[2] : NULL;
	const pai_tensor *pads = &u->in[1]->tensor;
	int rank = x->tensor.rank;
	bool fits = pai_tensor_nelem(pads) == 2 * rank && y->tensor.rank == rank &&
		    (!value || pai_tensor_nelem(&value->tensor) == 1);
	int64_t at[PAI_MAX_RANK], strides[PAI_MAX_RANK];
	for (int i = 0; fits && i < rank; i++) {
		int64_t before = pai_tensor_get_int(pads, i),
			after = pai_tensor_get_int(pads, i + rank);
		at[i] = before;
		fits = before >= 0 && after >= 0 &&
		       y->tensor.dims[i] == x->tensor.dims[i] + before + after;
	}
	if (!fits)
		return PAI_OK;
	strides_of(x, strides);
	pai_slot *to = pai_slot_out(p, y, x->channels_last);
	move_step *s = make(p, u, 1);
	if (value)
		memcpy(&s->value, value->tensor.data, s->size);
	s->filled = &to->tensor;
	add_piece(s, x, NULL, strides, to, at, x->tensor.dims);
	emit_one(p, u, s, x, to);
	*taken = true;
	return PAI_OK;
}
