/* einsum.c -- Einsum: every label of the equation is a loop, those of the result outside, those
 * summed over inside; an operand is read at the sum of its strides over the labels. An operand of
 * size 1 along a label is repeated. Floats are summed in double, integers in 64 bits.
 *
 * Gradient: with the roles of an operand and the result exchanged it is an Einsum again. Labels
 * that only the operand has are repeated, and a label that stands twice in it (a diagonal) is made
 * two by an identity matrix.
 */
#include "compiler/einsum.h"
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/move.h"
#include <string.h>

enum { LABELS = PAI_EINSUM_LABELS };

typedef struct labels {
	int64_t size[LABELS];
	bool met[LABELS];
	int out[PAI_MAX_RANK], n_out;
} labels;

static const char *add_operand(labels *l, const pai_tensor *x, pai_einsum *e)
{
	int of[PAI_MAX_RANK];
	const char *why = pai_einsum_operand_labels(e, x->rank, of);
	for (int d = 0; !why && d < x->rank; d++) {
		int64_t *size = &l->size[of[d]], n = x->dims[d];
		bool met = l->met[of[d]];
		if (met && *size != n && *size != 1 && n != 1)
			why = "gives one label two sizes";
		else if (!met || *size == 1)
			*size = n;
		l->met[of[d]] = true;
	}
	return why;
}

static const char *equation_of(const pai_node *n)
{
	return pai_node_string(n, "equation", "");
}

/* Sizes of all labels. NULL, or what is wrong. */
static const char *read_labels(const char *equation, int n, const pai_tensor *const *in, labels *l)
{
	pai_einsum e = pai_einsum_of(equation);
	memset(l, 0, sizeof *l);
	for (int i = 0; i < n; i++) {
		const char *why = add_operand(l, in[i], &e);
		if (why)
			return why;
	}
	return pai_einsum_result_labels(&e, &l->n_out, l->out);
}

/* ---- the loops ---- */

typedef struct nest {   /* labels in the order of the loops, outermost first */
	int n, n_outer; /* the first n_outer are those of the result */
	int64_t size[LABELS];
	int n_in;
	int64_t *step; /* [n_in, n]: elements of an operand to the next index */
	int64_t *at;   /* [n_in] */
	const void **x;
} nest;

static void order_loops(const labels *l, nest *s, int *number)
{
	for (int i = 0; i < LABELS; i++)
		number[i] = -1;
	for (int i = 0; i < l->n_out; i++) {
		number[l->out[i]] = s->n;
		s->size[s->n++] = l->size[l->out[i]];
	}
	s->n_outer = s->n;
	for (int i = 0; i < LABELS; i++)
		if (l->met[i] && number[i] < 0) {
			number[i] = s->n;
			s->size[s->n++] = l->size[i];
		}
}

static void set_steps(const pai_tensor *x, pai_einsum *e, const int *number, int64_t *step)
{
	int of[PAI_MAX_RANK];
	int64_t n = 1;
	(void)pai_einsum_operand_labels(e, x->rank, of); /* read once already */
	for (int d = x->rank - 1; d >= 0; d--) {
		step[number[of[d]]] += x->dims[d] == 1 ? 0 : n;
		n *= x->dims[d];
	}
}

/* Goes on in the loops [from, to); false: they are at their start again. */
static bool next_index(const nest *s, int from, int to, int64_t *index)
{
	for (int d = to - 1; d >= from; d--) {
		bool done = ++index[d] == s->size[d];
		for (int k = 0; k < s->n_in; k++)
			s->at[k] += s->step[k * s->n + d] * (done ? 1 - s->size[d] : 1);
		if (!done)
			return true;
		index[d] = 0;
	}
	return false;
}

#define SUM(T)                                                                             \
	static T sum_##T(const nest *s, int64_t *index)                                    \
	{                                                                                  \
		T sum = 0;                                                                 \
		do {                                                                       \
			T product = 1;                                                     \
			for (int k = 0; k < s->n_in; k++)                                  \
				product *= ((const T *)s->x[k])[s->at[k]];                 \
			sum += product;                                                    \
		} while (next_index(s, s->n_outer, s->n, index));                          \
		return sum;                                                                \
	}                                                                                  \
                                                                                           \
	static void all_##T(const nest *s, int64_t *index, bool nothing, T *to, int64_t n) \
	{                                                                                  \
		for (int64_t i = 0; i < n; i++) {                                          \
			to[i] = nothing ? 0 : sum_##T(s, index);                           \
			if (!nothing)                                                      \
				next_index(s, 0, s->n_outer, index);                       \
		}                                                                          \
	}

SUM(double)
SUM(uint64_t)

static pai_status make_nest(pai_call *c, const labels *l, nest *s)
{
	int number[LABELS];
	void *step = NULL, *at = NULL, *x = NULL;
	pai_einsum e = pai_einsum_of(equation_of(c->node));
	*s = (nest){.n_in = c->n_in};
	order_loops(l, s, number);
	PAI_TRY(pai_call_room(c, (int64_t)c->n_in * (s->n + 1), sizeof(int64_t), &step));
	PAI_TRY(pai_call_room(c, c->n_in, sizeof(int64_t), &at));
	PAI_TRY(pai_call_room(c, c->n_in, sizeof(void *), &x));
	memset(step, 0, sizeof(int64_t) * (size_t)(c->n_in * (s->n + 1)));
	memset(at, 0, sizeof(int64_t) * (size_t)c->n_in);
	s->step = step;
	s->at = at;
	s->x = x;
	for (int i = 0; i < c->n_in; i++)
		set_steps(c->in[i], &e, number, s->step + i * s->n);
	return PAI_OK;
}

/* The product of all sizes, a few for each operand. */
static pai_status charge(pai_call *c, const nest *s)
{
	double all = 4 * (double)s->n_in;
	for (int d = 0; d < s->n; d++)
		all *= s->size[d] > 1 ? (double)s->size[d] : 1;
	return pai_budget_work(c->ctx, pai_at_node(c->node), all);
}

static pai_status einsum(pai_call *c)
{
	labels l;
	nest s;
	pai_lane lane = pai_lane_of(c->in[0]->dtype);
	for (int i = 0; i < c->n_in; i++)
		if (!c->in[i] || c->in[i]->dtype != c->in[0]->dtype || lane == PAI_LANE_NONE)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, i),
					"is missing, has no numbers or another type than input 0");
	const char *why = read_labels(equation_of(c->node), c->n_in, c->in, &l);
	if (why)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "equation"), "%s",
				why);
	int64_t dims[PAI_MAX_RANK], index[LABELS] = {0};
	for (int i = 0; i < l.n_out; i++)
		dims[i] = l.size[l.out[i]];
	PAI_TRY(pai_call_output(c, 0, c->in[0]->dtype, l.n_out, dims));
	PAI_TRY(make_nest(c, &l, &s));
	PAI_TRY(charge(c, &s));
	lane = lane == PAI_LANE_F32 ? PAI_LANE_F64 : lane;
	for (int i = 0; i < c->n_in; i++)
		if (!(s.x[i] = pai_lane_view(c, lane, c->in[i])))
			return pai_call_nomem(c);
	void *to = pai_lane_begin(c, lane, c->out[0]);
	if (!to)
		return pai_call_nomem(c);
	bool nothing = false;
	for (int d = s.n_outer; d < s.n; d++)
		nothing |= s.size[d] == 0;
	if (lane == PAI_LANE_F64)
		all_double(&s, index, nothing, to, pai_tensor_nelem(c->out[0]));
	else
		all_uint64_t(&s, index, nothing, to, pai_tensor_nelem(c->out[0]));
	pai_lane_finish(lane, to, c->out[0]);
	return PAI_OK;
}

const pai_kernel pai_kernel_einsum = {.run = einsum};

/* ---- gradient ---- */

typedef struct terms {   /* of an equation without spaces, the result spelled out */
	const char **of; /* [n] */
	const char *result;
	int n;
} terms;

static pai_status cannot(const pai_node *n, const char *why)
{
	return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_attr(n, "equation"), "%s",
			why);
}

static pai_status read_terms(pai_arena *a, const pai_node *n, terms *t)
{
	pai_einsum e = pai_einsum_of(equation_of(n));
	*t = (terms){.of = PAI_NEWS(a, const char *, n->n_in), .n = n->n_in};
	for (int i = 0; i < t->n; i++) {
		const char *why = pai_einsum_term(&e);
		if (why)
			return cannot(n, why);
		t->of[i] = pai_arena_strdup(a, e.term);
	}
	const char *why = pai_einsum_result(&e);
	t->result = pai_arena_strdup(a, e.term);
	return why ? cannot(n, why) : PAI_OK;
}

/* A letter that the equation does not use; 0: there is none. */
static char fresh_letter(const char *equation, const char *beside)
{
	for (int c = 'A'; c <= 'z'; c++)
		if (pai_einsum_is_letter((char)c) && !strchr(equation, c) && !strchr(beside, c))
			return (char)c;
	return 0;
}

static pai_value *identity_matrix(pai_grad *g, const pai_node *n, pai_dtype dtype, int64_t size)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *zeros = PAI_OP1(p, "ConstantOfShape", "zeros",
				   pai_grad_ints(g, n, 2, (int64_t[]){size, size}));
	pai_value *eye = PAI_OP1(p, "EyeLike", "eye", zeros);
	pai_patch_set_int(p, eye->producer, "dtype", dtype);
	return eye;
}

/* What the gradient of operand `at` is put together from. */
typedef struct adjoint {
	char *equation, *result; /* terms so far, and that of the new result */
	pai_value **in;
	int n;
	int64_t missing[PAI_MAX_RANK]; /* axes of the operand that nothing else has */
	int n_missing;
} adjoint;

/* Is it in the result or in another operand? */
static bool elsewhere(const terms *t, int at, const char *what)
{
	const char *found = strstr(t->result, what);
	for (int i = 0; !found && i < t->n; i++)
		found = i == at ? NULL : strstr(t->of[i], what);
	return found != NULL;
}

/* The letter at *text of the operand, at axis: it comes from elsewhere, from an identity matrix, or
 * is repeated. */
static pai_status take_letter(pai_grad *g, const pai_node *n, const terms *t, int at,
			      const char *text, int axis, adjoint *a)
{
	const char c = *text;
	pai_arena *arena = n->graph->model->arena;
	const pai_type *x = &n->in[at]->type;
	char one[2] = {c, 0};
	bool again = strchr(a->result, c) != NULL;
	if (!again && !strchr(text + 1, c) && !elsewhere(t, at, one)) {
		a->missing[a->n_missing++] = axis;
		return PAI_OK;
	}
	if (again) {
		char other = fresh_letter(equation_of(n), a->equation);
		if (!other || x->rank < 0 || x->dims[axis] < 0)
			return cannot(n, "has a diagonal whose size is not known");
		a->equation = pai_arena_printf(arena, "%s,%c%c", a->equation, c, other);
		a->in[a->n++] = identity_matrix(g, n, x->dtype, x->dims[axis]);
		one[0] = other;
	}
	a->result = pai_arena_printf(arena, "%s%s", a->result, one);
	return PAI_OK;
}

static pai_status take_term(pai_grad *g, const pai_node *n, const terms *t, int at, adjoint *a)
{
	int letters = 0, axis = 0, rank;
	PAI_TRY(pai_grad_rank(g, n, n->in[at], &rank));
	for (const char *c = t->of[at]; *c; c++)
		letters += pai_einsum_is_letter(*c);
	for (const char *c = t->of[at]; *c; c++) {
		if (pai_einsum_is_letter(*c)) {
			PAI_TRY(take_letter(g, n, t, at, c, axis++, a));
			continue;
		}
		if (!elsewhere(t, at, "...") && rank > letters)
			return cannot(n, "sums over what \"...\" stands for");
		if (c != t->of[at] && n->out[0]->type.rank - rank > 0)
			return cannot(n, "has \"...\" behind a letter");
		if (rank > letters || elsewhere(t, at, "..."))
			a->result = pai_arena_printf(n->graph->model->arena, "%s...", a->result);
		axis += rank - letters;
		c += 2;
	}
	return PAI_OK;
}

/* An operand of size 1 may have been repeated along a label. */
static bool has_ones(const pai_node *n)
{
	bool found = false;
	for (int i = 0; i < n->n_in; i++)
		for (int d = 0; d < n->in[i]->type.rank; d++)
			found |= n->in[i]->type.dims[d] == 1;
	return found;
}

static pai_status adjoint_of(pai_grad *g, const pai_node *n, const terms *t, int at, pai_value *dy,
			     pai_value **out)
{
	pai_arena *arena = n->graph->model->arena;
	pai_patch *p = pai_grad_patch(g);
	adjoint a = {.equation = pai_arena_strdup(arena, t->result),
		     .result = pai_arena_strdup(arena, ""),
		     .in = PAI_NEWS(arena, pai_value *, n->n_in + PAI_MAX_RANK + 1),
		     .n = 1};
	a.in[0] = dy;
	for (int i = 0; i < t->n; i++)
		if (i != at) {
			a.equation = pai_arena_printf(arena, "%s,%s", a.equation, t->of[i]);
			a.in[a.n++] = n->in[i];
		}
	PAI_TRY(take_term(g, n, t, at, &a));
	pai_value *d = pai_patch_op(p, "Einsum", "grad", a.n, a.in);
	pai_patch_set_string(p, d->producer, "equation",
			     pai_arena_printf(arena, "%s->%s", a.equation, a.result));
	if (a.n_missing)
		d = PAI_OP2(p, "Unsqueeze", "grad", d, pai_grad_ints(g, n, a.n_missing, a.missing));
	if (a.n_missing || has_ones(n))
		d = PAI_OP2(p, "Expand", "grad", d, pai_grad_shape(g, n, n->in[at]));
	*out = pai_grad_sum_to(g, n, d, NULL, n->in[at]);
	return PAI_OK;
}

pai_status pai_grad_einsum(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	terms t;
	PAI_TRY(read_terms(n->graph->model->arena, n, &t));
	for (int i = 0; i < n->n_in; i++)
		if (pai_grad_wanted(g, n, i))
			PAI_TRY(adjoint_of(g, n, &t, i, dy[0], &dx[i]));
	return PAI_OK;
}
