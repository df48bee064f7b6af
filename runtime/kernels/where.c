/* where.c -- Where: copies elements of any type whose size is whole bytes. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"

typedef struct choice {
	const uint8_t *condition;
	const void *x, *y;
	void *z;
	int width; /* bytes of an element */
} choice;

typedef struct two_words { /* strings, complex128 */
	uint64_t low, high;
} two_words;

#define CHOOSE(T)                                                                                 \
	do {                                                                                      \
		const T *x = (const T *)w->x + at[1], *y = (const T *)w->y + at[2];               \
		T *z = (T *)w->z + out_at;                                                        \
		for (int64_t i = 0; i < n; i++)                                                   \
			z[i] = condition[one[0] ? 0 : i] ? x[one[1] ? 0 : i] : y[one[2] ? 0 : i]; \
	} while (0)

static void choose(const void *payload, int64_t n, const int64_t *at, const bool *one,
		   int64_t out_at)
{
	const choice *w = payload;
	const uint8_t *condition = w->condition + at[0];
	if (w->width == 4)
		CHOOSE(uint32_t);
	else if (w->width == 8)
		CHOOSE(uint64_t);
	else if (w->width == 2)
		CHOOSE(uint16_t);
	else if (w->width == 1)
		CHOOSE(uint8_t);
	else
		CHOOSE(two_words);
}

static pai_status where(pai_call *c)
{
	const pai_dtype type = c->in[1]->dtype;
	const int bits = type == PAI_STRING ? 8 * (int)sizeof(pai_str) : pai_dtype_get(type)->bits;
	if (c->in[0]->dtype != PAI_BOOL || c->in[2]->dtype != type || bits < 8)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"takes a bool and two tensors of one type");
	pai_operand in[3];
	pai_call_operands(c, 3, in);
	int rank;
	int64_t dims[PAI_MAX_RANK];
	PAI_TRY(pai_broadcast_dims(c, 3, in, &rank, dims));
	PAI_TRY(pai_call_output(c, 0, type, rank, dims));
	choice w = {c->in[0]->data, c->in[1]->data, c->in[2]->data, c->out[0]->data, bits / 8};
	pai_each_row(3, in, c->out[0], choose, &w);
	return PAI_OK;
}
const pai_kernel pai_kernel_where = {.run = where};

/* dx = dy where the condition holds, else 0; dy' the other way round. */
pai_status pai_grad_where(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_value *zero = pai_grad_scalar(g, n, n->out[0]->type.dtype, 0);
	for (int k = 1; k < 3; k++) {
		pai_value *chosen[2] = {k == 1 ? dy[0] : zero, k == 1 ? zero : dy[0]};
		if (pai_grad_wanted(g, n, k))
			dx[k] = pai_grad_sum_to(g, n,
						PAI_OP3(pai_grad_patch(g), "Where", "grad",
							n->in[0], chosen[0], chosen[1]),
						n->out[0], n->in[k]);
	}
	return PAI_OK;
}
