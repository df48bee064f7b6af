/* verb_burn_in.c -- pai-opt burn-in MODEL: from a trained model with transforms to one that needs
 * nothing of ours.
 *
 * Transforms fold into their weights; those on computed tensors become standard operators (their
 * bodies); what training noted in the metadata goes. The result is run against the model as it came
 * before it is written.
 */
#include "compiler/cli_check.h"
#include <inttypes.h>
#include <string.h>

typedef struct job {
	const char *in, *out, *select;
	const pai_target *target; /* NULL: none */
	bool stochastic, keep_activations;
	cli_check check;
	pai_pipeline_report report;
} job;

static pai_status take_options(cli *c, job *j)
{
	j->in = c->args[0];
	j->out = cli_get(c, "o");
	j->select = cli_get(c, "select");
	j->stochastic = cli_has(c, "allow-stochastic");
	j->keep_activations = cli_has(c, "keep-activations");
	j->check = (cli_check){.sets = 3, .rtol = 1e-5, .atol = 1e-6};
	if (!j->out)
		return pai_fail(c->ctx, PAI_E_missing_argument, pai_at_nothing(),
				"burn-in needs -o FILE");
	if (cli_get(c, "target"))
		PAI_TRY(pai_target_find(c->ctx, cli_get(c, "target"), &j->target));
	c->quiet |= strcmp(j->out, "-") == 0;
	return cli_check_options(c, &j->check);
}

static const char *pipeline_of(cli *c, const job *j)
{
	pai_setting settings[] = {{"select", j->select ? j->select : "*"},
				  {"allow-stochastic", j->stochastic ? "true" : "false"}};
	const pai_item item = {.name = "burn-in", .at = settings, .n = 2};
	const char *fold = pai_items_print(c->arena, &item, 1);
	if (j->keep_activations || j->select)
		return fold;
	return pai_arena_printf(c->arena, "%s,inline-functions{transforms=true}", fold);
}

/* Transform nodes that are still there. */
static pai_status count_left(void *payload, pai_graph *g)
{
	int *n = payload;
	for (int i = 0; i < g->nodes.n; i++)
		*n += pai_transform_of(g->nodes.at[i]) != NULL;
	return PAI_OK;
}

/* Factors of learning rates mean something to training alone. */
static pai_status drop_rates_of(void *payload, pai_graph *g)
{
	pai_patch *p = pai_patch_new(g);
	pai_applied *applied = payload;
	pai_patch_begin(p, NULL, "factors of learning rates");
	for (int i = 0; i < g->props.n; i++)
		if (strncmp(g->props.at[i].key, "pai.lr.", 7) == 0)
			pai_patch_graph_prop(p, g->props.at[i].key, NULL);
	return pai_patch_apply(p, -1, applied);
}

static pai_status drop_rates(pai_model *m)
{
	pai_applied applied;
	return pai_graph_walk(m->graph, drop_rates_of, &applied);
}

static pai_status prove(cli *c, job *j, const pai_model *original, const pai_model *m)
{
	bool random = j->stochastic && j->report.passes[0].counts[3];
	return cli_check_prove(c, j->report.rewrites ? original : NULL, m, &j->check, j->in,
			       random ? "random transforms were folded" : NULL);
}

static void summary(cli *c, const job *j, int remaining)
{
	uint64_t folded = j->report.passes[0].counts[0];
	if (c->report) {
		cJSON *o = cJSON_AddObjectToObject(c->report, "burn_in");
		cJSON_AddNumberToObject(o, "folded", (double)folded);
		cJSON_AddNumberToObject(o, "remaining", remaining);
	}
	cli_print(c, "%s: %" PRIu64 " transforms folded, %d left", j->in, folded, remaining);
	cli_check_print(c, &j->check);
	cli_print(c, "\nwrote %s\n", j->out);
}

static pai_status burn_in(cli *c, job *j, pai_model *m, const pai_model *original)
{
	pai_pipeline pipeline;
	int left = 0;
	PAI_TRY(pai_pipeline_parse(c->ctx, c->arena, pipeline_of(c, j), &pipeline));
	PAI_TRY(pai_pipeline_run(m, &pipeline, NULL, c->arena, &j->report));
	(void)pai_graph_walk(m->graph, count_left, &left);
	if (j->target)
		PAI_TRY(pai_target_check(m, j->target));
	PAI_TRY(drop_rates(m));
	PAI_TRY(prove(c, j, original, m));
	PAI_TRY(pai_model_write(m, j->out, NULL));
	summary(c, j, left);
	return PAI_OK;
}

static pai_status run(cli *c)
{
	job j = {0};
	pai_model *m, *original = NULL;
	PAI_TRY(take_options(c, &j));
	PAI_TRY(cli_try_output(c, j.out));
	PAI_TRY(cli_model(c, j.in, &m));
	if (j.check.sets || j.check.input)
		original = pai_model_clone(m);
	pai_status status = burn_in(c, &j, m, original);
	pai_model_free(original);
	pai_model_free(m);
	return status;
}

static const cli_option options[] = {
	{"select", "GLOB", "fold into these parameters only"},
	{"target", "NAME", "refuse what this runtime cannot take; see --list-targets"},
	{"keep-activations", NULL, "leave transforms of computed tensors as they are"},
	{"allow-stochastic", NULL, "fold one draw of random transforms"},
	CLI_CHECK_OPTIONS,
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_burn_in = {
	.name = "burn-in",
	.summary = "fold transforms into weights and remove what training added",
	.usage = "MODEL -o OUT",
	.examples = "  pai-opt burn-in trained.onnx -o deploy.onnx --target=onnxruntime\n",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
