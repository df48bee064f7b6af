/* verb_run.c -- pai-opt run MODEL: executes a model, with a table of where the time goes on demand.
 */
#include "compiler/cli.h"
#include <math.h>
#include <string.h>

static pai_status read_inputs(cli *c, const pai_model *m, const pai_tensor ***out)
{
	const char *file = cli_get(c, "input");
	pai_tensor **given;
	int n;
	if (!file)
		return pai_random_inputs(c->ctx, c->arena, m, c->ctx->seed, out);
	PAI_TRY(pai_tensors_read(c->ctx, c->arena, file, &given, &n));
	return pai_match_inputs(c->ctx, c->arena, m, file, n, given, out);
}

/* "logits float[1,10]  mean 0.1  min -3  max 4" */
static void print_output(cli *c, const char *name, const pai_tensor *t)
{
	int64_t n = pai_tensor_nelem(t);
	pai_dtype_kind kind = pai_dtype_get(t->dtype)->kind;
	double low = INFINITY, high = -INFINITY, sum = 0;
	if (n == 0 || kind == PAI_KIND_STRING || kind == PAI_KIND_COMPLEX) {
		cli_print(c, "%s %s\n", pai_escape(c->arena, name), pai_tensor_text(c->arena, t));
		return;
	}
	for (int64_t i = 0; i < n; i++) {
		double v = pai_tensor_get(t, i);
		sum += v;
		low = fmin(low, v);
		high = fmax(high, v);
	}
	cli_print(c, "%s %s  mean %.6g  min %.6g  max %.6g\n", pai_escape(c->arena, name),
		  pai_tensor_text(c->arena, t), sum / (double)n, low, high);
}

static void print_profile(cli *c, const pai_plan *p)
{
	double total = 0;
	int n = pai_plan_steps(p);
	for (int i = 0; i < n; i++)
		total += pai_plan_step(p, i).seconds;
	cli_print(c, "%10s %6s  %-28s %-20s %s\n", "us", "%", "step", "implementation", "node");
	cJSON *list = c->report ? cJSON_AddArrayToObject(c->report, "steps") : NULL;
	for (int i = 0; i < n; i++) {
		pai_step_info s = pai_plan_step(p, i);
		const char *node = s.node ? pai_node_label(s.node) : "";
		cli_print(c, "%10.2f %6.2f  %-28s %-20s %s\n", s.seconds * 1e6,
			  total > 0 ? 100 * s.seconds / total : 0, s.name, s.impl,
			  pai_escape(c->arena, node));
		if (!list)
			continue;
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "name", s.name);
		cJSON_AddStringToObject(o, "impl", s.impl);
		cJSON_AddStringToObject(o, "node", pai_escape(c->arena, node));
		cJSON_AddNumberToObject(o, "seconds", s.seconds);
		cJSON_AddNumberToObject(o, "flops", s.flops);
		cJSON_AddNumberToObject(o, "bytes", s.bytes);
		cJSON_AddItemToArray(list, o);
	}
}

static pai_status write_outputs(cli *c, const pai_model *m, const pai_tensor *const *out)
{
	int n = m->graph->outputs.n;
	const char *path = cli_get(c, "output");
	const char **names = PAI_NEWS(c->arena, const char *, n + 1);
	for (int i = 0; i < n; i++) {
		names[i] = m->graph->outputs.at[i]->name;
		if (!path)
			print_output(c, names[i], out[i]);
	}
	return path ? pai_npz_write(c->ctx, path, n, names, out) : PAI_OK;
}

static pai_status execute(cli *c, const pai_model *m, pai_plan *p, const pai_tensor *const *in,
			  int64_t repeat)
{
	const pai_tensor **out = PAI_NEWS(c->arena, const pai_tensor *, m->graph->outputs.n + 1);
	double best = INFINITY, total = 0;
	for (int64_t i = 0; i < repeat; i++) {
		double start = pai_now();
		PAI_TRY(pai_plan_run(p, in, out));
		double seconds = pai_now() - start;
		best = fmin(best, seconds);
		total += seconds;
	}
	PAI_TRY(write_outputs(c, m, out));
	if (cli_has(c, "profile"))
		print_profile(c, p);
	if (repeat > 1)
		cli_print(c, "%lld runs: fastest %.4g ms, mean %.4g ms, %d threads\n",
			  (long long)repeat, best * 1e3, total / (double)repeat * 1e3,
			  pai_plan_threads(p));
	if (c->report) {
		cJSON_AddNumberToObject(c->report, "min_ms", best * 1e3);
		cJSON_AddNumberToObject(c->report, "mean_ms", total / (double)repeat * 1e3);
	}
	return PAI_OK;
}

static pai_status run_model(cli *c, const pai_model *m)
{
	const pai_tensor **in;
	pai_value *const *values;
	int64_t repeat = 1;
	pai_plan *p;
	pai_plan_options o = {.profile = cli_has(c, "profile")};
	PAI_TRY(cli_int(c, "repeat", 1, INT32_MAX, &repeat));
	PAI_TRY(cli_backend(c, &o.backend));
	PAI_TRY(read_inputs(c, m, &in));
	PAI_TRY(pai_plan_new(c->ctx, m->graph, pai_model_inputs(m, &values), in, &o, &p));
	pai_status status = execute(c, m, p, in, repeat);
	pai_plan_free(p);
	return status;
}

static pai_status run(cli *c)
{
	pai_model *m;
	PAI_TRY(cli_try_output(c, cli_get(c, "output")));
	PAI_TRY(cli_model(c, c->args[0], &m));
	pai_status status = run_model(c, m);
	pai_model_free(m);
	return status;
}

static const cli_option options[] = {
	{"input", "FILE", "inputs: .npz, .npy or a folder of input_K.pb (default: random)"},
	{"output", "FILE", "write the outputs: .npz, or .npy for a single one"},
	{"profile", NULL, "show the time of every step and what executes it"},
	{"repeat", "N", "run N times and show the fastest"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_run = {
	.name = "run",
	.summary = "execute a model",
	.usage = "MODEL [--input=FILE] [--output=FILE]",
	.examples = "  pai-opt run model.onnx --input=x.npz --output=y.npz\n"
		    "  pai-opt run model.onnx --repeat=100 --profile\n",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
