/* if.c -- If: runs one of two subgraphs, which take everything from the graphs around them. */
#include "runtime/kernels/control.h"

static pai_status run(pai_call *c)
{
	int64_t condition;
	const pai_graph *g;
	void *room = NULL;
	PAI_TRY(pai_scalar_input(c, 0, PAI_BOOL, &condition));
	PAI_TRY(pai_call_body(c, condition ? "then_branch" : "else_branch", 0, c->n_out, &g));
	PAI_TRY(pai_call_room(c, c->n_out, sizeof(pai_tensor), &room));
	pai_tensor *out = room;
	PAI_TRY(pai_call_subgraph(c, g, 0, NULL, c->n_out, out));
	for (int i = 0; i < c->n_out; i++)
		PAI_TRY(pai_hand_out(c, i, &out[i]));
	return PAI_OK;
}

const pai_kernel pai_kernel_if = {.run = run};
