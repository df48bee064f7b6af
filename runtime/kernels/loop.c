/* loop.c -- Loop: (iteration, condition, state...) -> (condition, state..., scan outputs...).
 *
 * Runs while the condition holds, at most M times; either may be missing. The body's inputs are
 * kept twice, in turns: what it hands out may be one of its own inputs.
 */
#include "runtime/kernels/control.h"

typedef struct loop {
	const pai_graph *body;
	int states, scans;
	int64_t trips; /* -1: no bound */
	bool condition;
	pai_kept *now, *next; /* [2 + states]: iteration, condition, state */
	pai_stack *stacks;    /* [scans] */
	const pai_tensor **in;
	pai_tensor *out; /* [1 + states + scans] */
} loop;

static pai_status prepare(pai_call *c, loop *l)
{
	int64_t condition = 1;
	l->states = c->n_in > 2 ? c->n_in - 2 : 0;
	l->scans = c->n_out - l->states;
	l->trips = -1;
	if (l->scans < 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"has %d outputs for %d loop-carried values", c->n_out, l->states);
	PAI_TRY(pai_call_body(c, "body", 2 + l->states, 1 + l->states + l->scans, &l->body));
	if (c->n_in > 0 && c->in[0]) {
		PAI_TRY(pai_scalar_input(c, 0, PAI_INT64, &l->trips));
		l->trips = l->trips < 0 ? 0 : l->trips;
	}
	if (c->n_in > 1 && c->in[1])
		PAI_TRY(pai_scalar_input(c, 1, PAI_BOOL, &condition));
	l->condition = condition;

	int n = 2 + l->states;
	void *kept = NULL, *stacks = NULL, *in = NULL, *out = NULL;
	PAI_TRY(pai_call_room(c, 2 * n, sizeof(pai_kept), &kept));
	PAI_TRY(pai_call_room(c, l->scans, sizeof(pai_stack), &stacks));
	PAI_TRY(pai_call_room(c, n, sizeof(pai_tensor *), &in));
	PAI_TRY(pai_call_room(c, n + l->scans, sizeof(pai_tensor), &out));
	l->now = kept;
	l->next = l->now + n;
	l->stacks = stacks;
	l->in = in;
	l->out = out;
	for (int i = 0; i < 2 * n; i++)
		l->now[i] = (pai_kept){.capacity = 0};
	for (int i = 0; i < l->scans; i++)
		l->stacks[i] = (pai_stack){.n = 0};
	for (int i = 0; i < l->states; i++) {
		if (!c->in[2 + i])
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 2 + i),
					"is missing");
		PAI_TRY(pai_keep(c, &l->now[2 + i], c->in[2 + i]));
	}
	return PAI_OK;
}

static pai_status iterate(pai_call *c, loop *l, int64_t i)
{
	PAI_TRY(pai_keep_int(c, &l->now[0], i));
	PAI_TRY(pai_keep_bool(c, &l->now[1], l->condition));
	for (int k = 0; k < 2 + l->states; k++)
		l->in[k] = &l->now[k].tensor;
	PAI_TRY(pai_call_subgraph(c, l->body, 2 + l->states, l->in, 1 + l->states + l->scans,
				  l->out));
	if (l->out[0].dtype != PAI_BOOL || pai_tensor_nelem(&l->out[0]) != 1)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_attr(c->node, "body"),
				"does not give one boolean as its condition");
	l->condition = pai_tensor_get_int(&l->out[0], 0);
	for (int k = 0; k < l->states; k++)
		PAI_TRY(pai_keep(c, &l->next[2 + k], &l->out[1 + k]));
	for (int k = 0; k < l->scans; k++)
		PAI_TRY(pai_stack_push(c, &l->stacks[k], &l->out[1 + l->states + k]));
	pai_kept *turn = l->now;
	l->now = l->next;
	l->next = turn;
	return PAI_OK;
}

static pai_status run(pai_call *c)
{
	loop l;
	PAI_TRY(prepare(c, &l));
	for (int64_t i = 0; l.condition && (l.trips < 0 || i < l.trips); i++)
		PAI_TRY(iterate(c, &l, i));
	for (int k = 0; k < l.states; k++)
		PAI_TRY(pai_hand_out(c, k, &l.now[2 + k].tensor));
	for (int k = 0; k < l.scans; k++)
		PAI_TRY(pai_stack_output(c, l.states + k, &l.stacks[k], 0, false,
					 &l.body->outputs.at[1 + l.states + k]->type));
	return PAI_OK;
}

const pai_kernel pai_kernel_loop = {.run = run};
