/* t_dropout.c -- WeightDropout: y = v where u > prob, else 0, u uniform in [0, 1).
 *
 * Unlike ONNX Dropout what is kept is not rescaled, and it is random whenever it runs: it stands on
 * parameters. u is the optional input, or drawn here. compat="rockpool" multiplies by 0 or 1, so a
 * dropped negative number is -0 and a dropped NaN stays NaN.
 */
#include "runtime/kernels/t_stats.h"

static pai_status run(pai_call *c)
{
	const pai_tensor *x = c->in[0], *u;
	float prob = pai_node_float(c->node, "prob", 0.5f);
	pai_t_mode mode;
	PAI_TRY(pai_t_mode_of(c->ctx, c->node, &mode));
	if (!(prob >= 0 && prob <= 1))
		return pai_fail(c->ctx, PAI_E_transform_attribute, pai_at_attr(c->node, "prob"),
				"is %g, expected 0 to 1", (double)prob);
	PAI_TRY(pai_t_uniform(c, &u));
	PAI_TRY(pai_call_output(c, 0, PAI_FLOAT, x->rank, x->dims));
	int64_t n = pai_tensor_nelem(x);
	const float *v = x->data, *given = u ? u->data : NULL;
	float *y = c->out[0]->data;
	pai_random random = {0};
	if (!u)
		random = pai_call_random(c);
	for (int64_t i = 0; i < n; i++) {
		bool keep = (u ? given[i] : pai_random_uniform(&random, (uint64_t)i)) > prob;
		y[i] = mode.rockpool ? v[i] * (keep ? 1.0f : 0.0f) : keep ? v[i] : 0.0f;
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_weight_dropout = {.run = run};

static pai_value *scalar(pai_patch *p, pai_arena *a, const char *hint, float v)
{
	return pai_patch_init(p, hint, pai_tensor_from_float(a, v));
}

/* dv = g where it was kept, else 0. Without input U the numbers drawn are not known here: kept is
 * what came out as something other than 0. */
pai_status pai_grad_weight_dropout(pai_grad *g, const pai_node *n, pai_value *const *dy,
				   pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_arena *a = n->graph->model->arena;
	pai_value *zero = scalar(p, a, "dropped", 0), *keep, *u = pai_node_in(n, 1);
	if (u)
		keep = PAI_OP2(p, "Greater", "keep", u,
			       scalar(p, a, "prob", pai_node_float(n, "prob", 0.5f)));
	else
		keep = PAI_OP1(p, "Not", "keep", PAI_OP2(p, "Equal", "zero", n->out[0], zero));
	dx[0] = PAI_OP3(p, "Where", "grad", keep, dy[0], zero);
	return PAI_OK;
}

#define HEAD                                                  \
	"WeightDropout <compat, grad, prob> (X, U) => (Y) { " \
	"p = Constant <value_float: float = @prob> () keep = Greater (U, p) "

const pai_body pai_body_weight_dropout = {
	.none = HEAD "zero = Constant <value = float {0.0}> () Y = Where (keep, X, zero) }",
	.rockpool = HEAD "mask = Cast <to = 1> (keep) Y = Mul (X, mask) }",
};
