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

static double precision_of(const pai_value *v)
{
	if (v->type.kind != PAI_TYPE_TENSOR)
		return 0;
	return v->type.dtype == PAI_FLOAT16 ? 0x1p-10 : v->type.dtype == PAI_BFLOAT16 ? 0x1p-7 : 0;
}

typedef struct precision { /* coarsest step of what values of a graph are computed from */
	const pai_graph *g;
	double *eps; /* [g->values.n] */
	double node; /* of the node that is looked at */
} precision;

static void see(precision *p, const pai_value *v)
{
	if (v)
		p->node = fmax(p->node, v->graph == p->g ? p->eps[v->id] : precision_of(v));
}

/* A node with subgraphs depends on all that these hold and read. */
static pai_status see_graph(void *payload, pai_graph *g)
{
	for (int i = 0; i < g->values.n; i++)
		see(payload, g->values.at[i]);
	for (int i = 0; i < g->outputs.n; i++)
		see(payload, g->outputs.at[i]);
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			see(payload, g->nodes.at[i]->in[k]);
	return PAI_OK;
}

static void see_node(precision *p, const pai_node *n)
{
	p->node = 0;
	for (int i = 0; i < n->n_in; i++)
		see(p, n->in[i]);
	for (int i = 0; i < n->n_attrs; i++) {
		const pai_attr *a = &n->attrs[i];
		if (a->type == PAI_ATTR_GRAPH && a->g)
			(void)pai_graph_walk(a->g, see_graph, p);
	}
	for (int i = 0; i < n->n_out; i++)
		if (n->out[i])
			p->eps[n->out[i]->id] = fmax(p->eps[n->out[i]->id], p->node);
}

/* What is computed from 16 bits is right to some steps of those, whatever type the outputs have. */
static void allow_for_precision(cli *c, const pai_model *x, cli_check *check)
{
	const pai_graph *g = x->graph;
	precision p = {.g = g, .eps = PAI_NEWS(c->arena, double, g->values.n + 1)};
	check->rtols = PAI_NEWS(c->arena, double, g->outputs.n + 1);
	for (int i = 0; i < g->values.n; i++)
		p.eps[i] = precision_of(g->values.at[i]);
	for (int i = 0; i < g->nodes.n; i++)
		see_node(&p, g->nodes.at[i]);
	for (int i = 0; i < g->outputs.n; i++) {
		double eps = cli_has(c, "rtol") ? 0 : p.eps[g->outputs.at[i]->id];
		check->rtols[i] = fmax(check->rtol, 8 * eps);
	}
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
		cJSON_AddNumberToObject(o, "rtol", check->rtols[i]);
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

/* The unit counts floats only: whole numbers that differ are no units apart. */
static bool within(const cli_check *check, int i)
{
	const pai_difference *d = &check->differences[i];
	return pai_difference_within(d, check->rtols[i], check->atol) ||
	       (!d->shape && !d->nan && d->ulp > 0 && d->ulp <= check->ulp);
}

double cli_check_rtol(const cli_check *check)
{
	double rtol = check->rtol;
	for (int i = 0; i < check->n; i++)
		rtol = fmax(rtol, check->rtols[i]);
	return rtol;
}

pai_status cli_check_gate(cli *c, const cli_check *check, const char *file)
{
	for (int i = 0; i < check->n; i++) {
		const pai_difference *d = &check->differences[i];
		if (within(check, i))
			continue;
		return pai_fail(
			c->ctx, PAI_E_not_equivalent, pai_at_file(file),
			"output \"%s\" differs by %.4g (%.4g of its largest magnitude%s%s), "
			"allowed are rtol %g and atol %g",
			pai_escape(c->arena, d->output), d->abs, d->rel,
			d->shape ? "; shapes differ" : "", d->nan ? "; NaN in one only" : "",
			check->rtols[i], check->atol);
	}
	return PAI_OK;
}

pai_status cli_check_prove(cli *c, const pai_model *original, const pai_model *m, cli_check *check,
			   const char *file, const char *pointless)
{
	if (!original)
		return PAI_OK;
	if (pointless) {
		cli_print(c, "not compared: %s\n", pointless);
		return PAI_OK;
	}
	pai_status status = cli_check_run(c, original, m, check);
	if (status == PAI_OK)
		return cli_check_gate(c, check, file);
	pai_note(c->ctx, pai_at_nothing(),
		 "the result could not be compared with the original, so nothing was written; "
		 "--check=0 writes it without proof");
	return status;
}

void cli_check_print(cli *c, const cli_check *check)
{
	double worst = 0;
	for (int i = 0; i < check->n; i++)
		worst = check->differences[i].abs > worst ? check->differences[i].abs : worst;
	if (check->n)
		cli_print(c, ", outputs within %.3g on %d inputs", worst, check->sets);
	if (cli_check_rtol(check) > check->rtol)
		cli_print(c, " (rtol %g where computed in 16 bits)", cli_check_rtol(check));
}
