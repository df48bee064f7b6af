/* zip.c -- functions of two elements, with broadcasting. Axes are taken in the order of memory and
 * joined where both operands allow it; the inner loop then runs over adjacent elements of the
 * result against adjacent elements, or one element, of each operand. */
#include "runtime/fast/fast.h"

enum { OUTER = 7 };

typedef struct zip_step {
	const pai_own *own;
	const pai_tensor *a, *b, *y;
	pai_zip_kind kind;
	int rank; /* outer axes */
	int64_t dims[OUTER], a_stride[OUTER], b_stride[OUTER];
	int64_t n, outer;   /* inner length; product of dims */
	int a_step, b_step; /* inner, 0 or 1 */
	int threads;
} zip_step;

enum { CHUNK = 64 };

/* Parts of the inner loop, where that is all there is. */
static void inner_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const zip_step *s = args;
	(void)thread;
	int64_t from = lo * CHUNK, to = hi * CHUNK < s->n ? hi * CHUNK : s->n;
	s->own->zip(s->kind, to - from, (const float *)s->a->data + from * s->a_step, s->a_step,
		    (const float *)s->b->data + from * s->b_step, s->b_step,
		    (float *)s->y->data + from);
}

static void outer_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const zip_step *s = args;
	(void)thread;
	for (int64_t i = lo; i < hi; i++) {
		int64_t at = i, a = 0, b = 0;
		for (int d = s->rank - 1; d >= 0; d--) {
			a += at % s->dims[d] * s->a_stride[d];
			b += at % s->dims[d] * s->b_stride[d];
			at /= s->dims[d];
		}
		s->own->zip(s->kind, s->n, (const float *)s->a->data + a, s->a_step,
			    (const float *)s->b->data + b, s->b_step,
			    (float *)s->y->data + i * s->n);
	}
}

static pai_status run(void *args, pai_run *run)
{
	zip_step *s = args;
	(void)run;
	if (s->outer == 1)
		pai_parallel(s->threads, (s->n + CHUNK - 1) / CHUNK, inner_range, s);
	else
		pai_parallel(s->threads, s->outer, outer_range, s);
	return PAI_OK;
}

/* Strides of s along the axes of y in the order of y's memory, 0 where it repeats. Only what has
 * the shape of y can have its channels last as well; anything else is plain. */
static void strides_of(const pai_slot *s, const pai_tensor *y, bool last, int64_t *out)
{
	const pai_tensor *t = &s->tensor;
	int64_t by_axis[PAI_MAX_RANK], step = 1;
	int shift = y->rank - t->rank;
	for (int i = y->rank - 1; i >= 0; i--) {
		int axis = pai_memory_axis(y->rank, i, s->channels_last);
		int64_t n = axis >= shift ? t->dims[axis - shift] : 1;
		by_axis[axis] = n == 1 ? 0 : step;
		step *= n;
	}
	for (int i = 0; i < y->rank; i++)
		out[i] = by_axis[pai_memory_axis(y->rank, i, last)];
}

/* Joins axes that both operands run through as one; false: too many are left. */
static bool set_axes(zip_step *s, pai_slot *const *in, const pai_tensor *y, bool last)
{
	int64_t a[PAI_MAX_RANK], b[PAI_MAX_RANK], dims[PAI_MAX_RANK + 1];
	int n = 0;
	strides_of(in[0], y, last, a);
	strides_of(in[1], y, last, b);
	for (int i = 0; i < y->rank; i++) {
		int64_t size = y->dims[pai_memory_axis(y->rank, i, last)];
		if (size == 1)
			continue;
		if (n && a[n - 1] == a[i] * size && b[n - 1] == b[i] * size)
			dims[n - 1] *= size;
		else
			dims[n++] = size;
		a[n - 1] = a[i];
		b[n - 1] = b[i];
	}
	if (!n) {
		dims[n] = 1;
		a[n] = b[n] = 0;
		n++;
	}
	s->rank = n - 1;
	s->n = dims[n - 1];
	s->outer = 1;
	if (n - 1 > OUTER || a[n - 1] > 1 || b[n - 1] > 1)
		return false;
	s->a_step = (int)a[n - 1];
	s->b_step = (int)b[n - 1];
	for (int i = 0; i < n - 1; i++) {
		s->dims[i] = dims[i];
		s->a_stride[i] = a[i];
		s->b_stride[i] = b[i];
		s->outer *= dims[i];
	}
	return true;
}

static pai_status emit(pai_plan *p, pai_unit *u, bool *taken, pai_zip_kind kind, double cost)
{
	if (!pai_unit_is(u, PAI_FLOAT) || u->n_in != 2 || !u->in[0] || !u->in[1] || !u->out[0] ||
	    pai_node_attr(u->node, "axis"))
		return PAI_OK;
	const pai_tensor *shape = &u->out[0]->tensor;
	if (!pai_tensor_nelem(shape))
		return PAI_OK;
	bool last = false;
	for (int i = 0; i < 2; i++)
		last |= u->in[i]->channels_last && pai_same_shape(&u->in[i]->tensor, shape);
	pai_slot *in[2], *y = u->out[0];
	if (last && y->place != PAI_IN_ARENA)
		last = false;
	for (int i = 0; i < 2; i++)
		in[i] = pai_slot_in(p, u->in[i], last && pai_same_shape(&u->in[i]->tensor, shape));
	zip_step *s = PAI_NEW(p->arena, zip_step);
	*s = (zip_step){.own = p->own, .a = &in[0]->tensor, .b = &in[1]->tensor, .kind = kind};
	if (!set_axes(s, in, shape, last))
		return PAI_OK;
	pai_unit *relu = kind == PAI_ZIP_ADD ? pai_following_relu(y) : NULL;
	if (relu) {
		s->kind = PAI_ZIP_ADD_RELU;
		relu->dead = true;
		y = relu->out[0];
	}
	pai_slot *to = pai_slot_out(p, y, last);
	for (int i = 0; i < 2; i++)
		if (pai_same_shape(&in[i]->tensor, shape) && in[0] != in[1] &&
		    pai_slot_reuse(p, in[i], to))
			break;
	s->y = &to->tensor;
	double n = (double)pai_tensor_nelem(shape);
	s->threads = pai_step_threads(p, cost * n);
	pai_step_info info = {.node = u->node,
			      .name = relu ? "Add+Relu" : u->node->op_type,
			      .impl = p->own->name,
			      .flops = cost * n,
			      .bytes = 12 * n};
	pai_plan_emit(p, (pai_step){run, s}, info, 2, in, 1, &to);
	pai_slot_done(p, y, to);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_add(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_ADD, 2);
}

pai_status pai_fast_sub(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_SUB, 2);
}

pai_status pai_fast_mul(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_MUL, 2);
}

pai_status pai_fast_div(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_DIV, 4);
}

pai_status pai_fast_min(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_MIN, 2);
}

pai_status pai_fast_max(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_MAX, 2);
}

pai_status pai_fast_relu_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_RELU_GRAD, 2);
}

pai_status pai_fast_sigmoid_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_SIGMOID_GRAD, 3);
}

pai_status pai_fast_tanh_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	return emit(p, u, taken, PAI_ZIP_TANH_GRAD, 3);
}

/* The slope broadcasts to x, which zips do anyway. */
pai_status pai_fast_prelu(pai_plan *p, pai_unit *u, bool *taken)
{
	return u->node->op->since < 7 ? PAI_OK : emit(p, u, taken, PAI_ZIP_PRELU, 2);
}
