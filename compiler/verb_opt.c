/* verb_opt.c -- pai-opt [opt] MODEL: check, rewrite, prove, report, write. */
#include "compiler/cli_check.h"
#include <inttypes.h>
#include <string.h>

typedef struct job {
	const char *in, *out;
	pai_pipeline pipeline;
	pai_pipeline_options options;
	pai_pipeline_report report;
	cli_check check;
	const pai_target *target; /* NULL: any */
	bool dry_run;
} job;

/* all|changed|diff, or the name of the only pass to show. */
static pai_status print_when(cli *c, const char *option, job *j, pai_print_when *out)
{
	static const char *const words[] = {[PAI_PRINT_ALL] = "all",
					    [PAI_PRINT_CHANGED] = "changed",
					    [PAI_PRINT_DIFF] = "diff"};
	const char *value = cli_get(c, option);
	if (!value)
		return PAI_OK;
	*out = PAI_PRINT_ALL;
	for (int i = PAI_PRINT_ALL; i <= PAI_PRINT_DIFF; i++) {
		if (strcmp(value, words[i]) == 0) {
			*out = (pai_print_when)i;
			return PAI_OK;
		}
	}
	if (!*value)
		return PAI_OK;
	if (!pai_pass_find(value))
		return pai_fail(c->ctx, PAI_E_unknown_name, pai_at_nothing(),
				"--%s names no pass: \"%s\"", option, pai_escape(c->arena, value));
	if (j->options.print_pass && strcmp(j->options.print_pass, value) != 0)
		return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
				"--print-before and --print-after name different passes");
	j->options.print_pass = value;
	return PAI_OK;
}

static pai_status take_options(cli *c, job *j)
{
	int64_t stop_after = -1;
	j->in = c->args[0];
	j->dry_run = cli_has(c, "dry-run");
	j->check = (cli_check){.sets = 3, .rtol = 1e-4, .atol = 1e-5};
	PAI_TRY(pai_pipeline_parse(c->ctx, c->arena, cli_get(c, "passes"), &j->pipeline));
	PAI_TRY(cli_check_options(c, &j->check));
	PAI_TRY(cli_int(c, "stop-after", 0, INT32_MAX, &stop_after));
	j->options.stop_after = (int)stop_after;
	j->options.no_verify_each = cli_has(c, "no-verify-each");
	PAI_TRY(print_when(c, "print-before", j, &j->options.print_before));
	PAI_TRY(print_when(c, "print-after", j, &j->options.print_after));
	if (cli_get(c, "target"))
		PAI_TRY(pai_target_find(c->ctx, cli_get(c, "target"), &j->target));
	j->out = cli_get(c, "o");
	if (!j->out && strcmp(j->in, "-") == 0)
		j->out = "-";
	if (!j->out)
		j->out = cli_output_beside(c, j->in, ".opt", cli_is_text(j->in));
	c->quiet |= strcmp(j->out, "-") == 0;
	return PAI_OK;
}

static void print_stats(cli *c, const pai_pass_report *p)
{
	cli_print(c, "  %-40s %" PRIu64 " rewrites, nodes %" PRId64 " -> %" PRId64 "\n", p->name,
		  p->rewrites, p->nodes_before, p->nodes_after);
	for (int i = 0; p->pass->stats && p->pass->stats[i]; i++)
		if (p->counts[i])
			cli_print(c, "      %-36s %" PRIu64 "\n", p->pass->stats[i], p->counts[i]);
}

static void report_pass(cJSON *list, const pai_pass_report *p)
{
	const struct {
		const char *key;
		int64_t value;
	} numbers[] = {
		{"rewrites", (int64_t)p->rewrites},       {"rounds", p->rounds},
		{"nodes_before", p->nodes_before},        {"nodes_after", p->nodes_after},
		{"initializers_before", p->inits_before}, {"initializers_after", p->inits_after},
		{"bytes_before", p->bytes_before},        {"bytes_after", p->bytes_after},
	};
	cJSON *o = cJSON_CreateObject(), *counts = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "name", p->name);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		cJSON_AddNumberToObject(o, numbers[i].key, (double)numbers[i].value);
	cJSON_AddNumberToObject(o, "ms", 1e3 * p->seconds);
	for (int i = 0; p->pass->stats && p->pass->stats[i]; i++)
		cJSON_AddNumberToObject(counts, p->pass->stats[i], (double)p->counts[i]);
	cJSON_AddItemToObject(o, "counts", counts);
	cJSON_AddItemToArray(list, o);
}

static void show_passes(cli *c, const job *j)
{
	cJSON *list = c->report ? cJSON_AddArrayToObject(c->report, "passes") : NULL;
	for (int i = 0; i < j->report.n; i++) {
		const pai_pass_report *p = &j->report.passes[i];
		if (cli_has(c, "stats"))
			print_stats(c, p);
		if (cli_has(c, "time-passes"))
			cli_print(c, "  %-40s %8.3f ms\n", p->name, 1e3 * p->seconds);
		if (list)
			report_pass(list, p);
	}
}

/* After our own bug: the model as it came in, headed by the command line. */
static void keep_reproducer(cli *c, const job *j)
{
	pai_model *again;
	const char *path = pai_arena_printf(c->arena, "%s.repro.onnxtxt",
					    strcmp(j->out, "-") == 0 ? "pai-opt" : j->out);
	if (pai_model_read(c->ctx, j->in, &again) != PAI_OK)
		return;
	if (pai_reproducer_write(c->ctx, path, c->command, again) == PAI_OK)
		pai_note(c->ctx, pai_at_nothing(), "a reproducer is in %s", path);
	pai_model_free(again);
}

/* Sum over graphs of nodes and bytes, for the closing line. */
static void summary(cli *c, const job *j, double seconds)
{
	const pai_pass_report *first = j->report.n ? &j->report.passes[0] : NULL;
	const pai_pass_report *last = j->report.n ? &j->report.passes[j->report.n - 1] : NULL;
	if (first)
		cli_print(c,
			  "%s: %" PRId64 " -> %" PRId64
			  " nodes, %.1f -> %.1f KB of weights, %" PRIu64 " rewrites",
			  j->in, first->nodes_before, last->nodes_after,
			  1e-3 * (double)first->bytes_before, 1e-3 * (double)last->bytes_after,
			  j->report.rewrites);
	else
		cli_print(c, "%s: no passes", j->in);
	cli_check_print(c, &j->check);
	cli_print(c, ", %.1f ms\n", 1e3 * seconds);
	if (!j->dry_run)
		cli_print(c, "wrote %s\n", j->out);
}

/* Passes that mean to change the outputs cannot be checked against the original. */
static pai_status prove(cli *c, job *j, const pai_model *original, const pai_model *m)
{
	bool meant = j->report.exactness == PAI_CHANGES;
	return cli_check_prove(c, j->report.rewrites ? original : NULL, m, &j->check, j->in,
			       meant ? "a pass is meant to change the outputs" : NULL);
}

static pai_status rewrite(cli *c, job *j, pai_model *m, const pai_model *original)
{
	double start = pai_now();
	pai_status status = pai_pipeline_run(m, &j->pipeline, &j->options, c->arena, &j->report);
	show_passes(c, j);
	if (status == PAI_INTERNAL)
		keep_reproducer(c, j);
	PAI_TRY(status);
	if (j->target)
		PAI_TRY(pai_target_check(m, j->target));
	PAI_TRY(prove(c, j, original, m));
	if (!j->dry_run)
		PAI_TRY(pai_model_write(m, j->out, NULL));
	summary(c, j, pai_now() - start);
	return PAI_OK;
}

static pai_status run(cli *c)
{
	job j = {0};
	pai_model *m, *original = NULL;
	PAI_TRY(take_options(c, &j));
	PAI_TRY(cli_try_output(c, j.dry_run ? NULL : j.out));
	PAI_TRY(cli_model(c, j.in, &m));
	if (j.pipeline.n && (j.check.sets || j.check.input))
		original = pai_model_clone(m);
	pai_status status = rewrite(c, &j, m, original);
	pai_model_free(original);
	pai_model_free(m);
	return status;
}

static const cli_option options[] = {
	{"passes", "PIPELINE", "name{key=value,...},... (default: clean-up; empty: none)"},
	{"target", "NAME", "refuse what this runtime cannot take; see --list-targets"},
	CLI_CHECK_OPTIONS,
	{"print-before", "=all|PASS", "show the model before passes"},
	{"print-after", "=all|changed|diff|PASS", "show the model after passes"},
	{"stop-after", "N", "apply only the first N rewrites: bisects a bad one"},
	{"stats", NULL, "show what each pass did, and why it did nothing"},
	{"time-passes", NULL, "show the time of each pass"},
	{"no-verify-each", NULL, "do not verify the model after each pass"},
	{"dry-run", NULL, "do everything but write"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_opt = {
	.name = "opt",
	.summary = "check a model, clean it up or rewrite it by passes, prove the result, write it",
	.usage = "MODEL [-o OUT] [--passes=PIPELINE]",
	.examples = "  pai-opt model.onnx\n"
		    "  pai-opt model.onnx -o out.onnx --passes='add-dendrites{count=1}'\n"
		    "  pai-opt model.onnx -o out.onnx --stats --report=report.json\n",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
