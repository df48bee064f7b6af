/* cli_check.c -- runs two models on the same inputs, and judges. */
#include "compiler/cli_check.h"
#include <math.h>

pai_status cli_check_options(cli *c, cli_check *check)
{
	int64_t sets = check->sets;
	PAI_TRY(cli_int(c, "check", 0, 1000, &sets));
	PAI_TRY(cli_float(c, "rtol", 0, 1, &check->rtol));
	PAI_TRY(cli_float(c, "atol", 0, INFINITY, &check->atol));
	check->sets = (int)sets;
	check->input = cli_get(c, "input");
	return PAI_OK;
}

static pai_status inputs_of(cli *c, const pai_model *m, cli_check *check,
			    const pai_tensor *const **sets)
{
	const pai_tensor **in;
	if (check->input) {
		pai_tensor **given;
		int n;
		check->sets = 1;
		PAI_TRY(pai_tensors_read(c->ctx, c->arena, check->input, &given, &n));
		PAI_TRY(pai_match_inputs(c->ctx, c->arena, m, check->input, n, given, &in));
		sets[0] = in;
		return PAI_OK;
	}
	for (int i = 0; i < check->sets; i++) {
		PAI_TRY(pai_random_inputs(c->ctx, c->arena, m, c->ctx->seed + (uint64_t)i, &in));
		sets[i] = in;
	}
	return PAI_OK;
}

static pai_status see_precision(void *payload, pai_graph *g)
{
	double *eps = payload;
	for (int i = 0; i < g->values.n; i++) {
		const pai_type *t = &g->values.at[i]->type;
		if (t->kind == PAI_TYPE_TENSOR && t->dtype == PAI_FLOAT16)
			*eps = fmax(*eps, 0x1p-10);
		if (t->kind == PAI_TYPE_TENSOR && t->dtype == PAI_BFLOAT16)
			*eps = fmax(*eps, 0x1p-7);
	}
	return PAI_OK;
}

/* What is computed in 16 bits is right to some steps of those, whatever type the outputs have. */
static void allow_for_precision(cli *c, const pai_model *x, cli_check *check)
{
	double eps = 0;
	if (cli_has(c, "rtol"))
		return;
	(void)pai_graph_walk(x->graph, see_precision, &eps);
	check->rtol = fmax(check->rtol, 8 * eps);
}

/* JSON has no infinity. */
static void add_number(cJSON *to, const char *key, double v)
{
	if (isfinite(v))
		cJSON_AddNumberToObject(to, key, v);
	else
		cJSON_AddStringToObject(to, key, isnan(v) ? "nan" : "inf");
}

static void report(cli *c, const cli_check *check)
{
	cJSON *list = cJSON_AddArrayToObject(c->report, "check");
	for (int i = 0; i < check->n; i++) {
		const pai_difference *d = &check->differences[i];
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "output", pai_escape(c->arena, d->output));
		add_number(o, "max_abs", d->abs);
		add_number(o, "max_rel", d->rel);
		add_number(o, "max_ulp", d->ulp);
		cJSON_AddBoolToObject(o, "shape_differs", d->shape);
		cJSON_AddBoolToObject(o, "nan_differs", d->nan);
		cJSON_AddItemToArray(list, o);
	}
}

pai_status cli_check_run(cli *c, const pai_model *x, const pai_model *y, cli_check *check)
{
	const pai_tensor *const **sets =
		PAI_NEWS(c->arena, const pai_tensor *const *, check->sets + 1);
	pai_plan_options o = {.backend = PAI_FAST};
	PAI_TRY(cli_backend(c, &o.backend));
	pai_budget_begin(c->ctx); /* all runs of the check are one */
	pai_status status = inputs_of(c, x, check, sets);
	allow_for_precision(c, x, check);
	if (status == PAI_OK)
		status = pai_compare(c->ctx, c->arena, x, y, &o, check->sets, sets,
				     &check->differences, &check->n);
	pai_budget_end(c->ctx);
	if (status == PAI_OK && c->report)
		report(c, check);
	return status;
}

pai_status cli_check_gate(cli *c, const cli_check *check, const char *file)
{
	for (int i = 0; i < check->n; i++) {
		const pai_difference *d = &check->differences[i];
		if (pai_difference_within(d, check->rtol, check->atol))
			continue;
		return pai_fail(
			c->ctx, PAI_E_not_equivalent, pai_at_file(file),
			"output \"%s\" differs by %.4g (%.4g of its largest magnitude%s%s), "
			"allowed are rtol %g and atol %g",
			pai_escape(c->arena, d->output), d->abs, d->rel,
			d->shape ? "; shapes differ" : "", d->nan ? "; NaN in one only" : "",
			check->rtol, check->atol);
	}
	return PAI_OK;
}

pai_status cli_check_prove(cli *c, const pai_model *original, const pai_model *m, cli_check *check,
			   const char *file)
{
	pai_status status = cli_check_run(c, original, m, check);
	if (status == PAI_OK)
		return cli_check_gate(c, check, file);
	pai_note(c->ctx, pai_at_nothing(),
		 "the result could not be compared with the original, so nothing was written; "
		 "--check=0 writes it without proof");
	return status;
}
