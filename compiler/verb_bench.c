/* verb_bench.c -- pai-opt bench MODEL: how long a run or a training step takes, and where the time
 * goes. Times are the fastest of many rounds; a median far from it, or wall time beyond the time
 * of the processor, marks a figure as noisy. */
#include "compiler/cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCHES = 32, CLASS_AXIS = 1 };

typedef struct job {
	cli *c;
	const char *path;
	bool json, train, profile;
	int64_t rounds;
	double seconds; /* for the rounds of one batch size */
	pai_session_options session;
} job;

typedef struct figures {
	int64_t batch;
	double load_ms, min_ms, med_ms, cpu_ms;
	bool noisy;
	int threads;
	size_t bytes;
} figures;

typedef struct subject { /* what is timed */
	pai_plan *plan;  /* inference */
	pai_session *session;
	const pai_tensor **in, **out;
	pai_tensor *labels;
} subject;

static double cpu_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static pai_status once(subject *s)
{
	float loss;
	return s->session ? pai_session_step(s->session, s->in, s->labels, &loss)
			  : pai_plan_run(s->plan, s->in, s->out);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Rounds of about 10 ms each, until the time is up. */
static pai_status measure(job *j, subject *s, figures *f)
{
	double start = pai_now();
	for (int i = 0; i < 3; i++)
		PAI_TRY(once(s));
	double each = (pai_now() - start) / 3;
	int64_t inner = (int64_t)(0.01 / (each > 1e-7 ? each : 1e-7)) + 1, n = 0;
	double *wall = PAI_NEWS(j->c->arena, double, j->rounds);
	f->cpu_ms = INFINITY;
	for (start = pai_now(); n < j->rounds && (n < 3 || pai_now() - start < j->seconds); n++) {
		double w = pai_now(), cpu = cpu_now();
		for (int64_t i = 0; i < inner; i++)
			PAI_TRY(once(s));
		wall[n] = (pai_now() - w) / (double)inner * 1e3;
		f->cpu_ms = fmin(f->cpu_ms, (cpu_now() - cpu) / (double)inner * 1e3);
	}
	qsort(wall, (size_t)n, sizeof *wall, by_value);
	f->min_ms = wall[0];
	f->med_ms = wall[n / 2];
	f->noisy = f->med_ms > 1.25 * f->min_ms || f->min_ms > 1.1 * f->cpu_ms;
	return PAI_OK;
}

/* Gives the free first axis of every input the batch size. */
static pai_status set_batch(job *j, pai_model *m, int64_t batch)
{
	pai_value *const *in;
	int n = pai_model_inputs(m, &in);
	for (int i = 0; i < n; i++) {
		const pai_type *t = &in[i]->type;
		if (t->rank < 1 || t->dims[0] == batch)
			continue;
		if (t->dims[0] >= 0)
			return pai_fail(j->c->ctx, PAI_E_bad_value, pai_at_value(in[i]),
					"--batch=%lld: its first axis has the fixed size %lld",
					(long long)batch, (long long)t->dims[0]);
		PAI_TRY(pai_model_fix_dim(m, pai_arena_printf(j->c->arena, "%s:0", in[i]->name),
					  batch));
	}
	return pai_infer(m);
}

static pai_status make_labels(job *j, const pai_model *m, const pai_tensor *x, pai_tensor **out)
{
	const pai_type *t = &m->graph->outputs.at[0]->type;
	int64_t classes = t->rank > CLASS_AXIS && t->dims[CLASS_AXIS] > 0 ? t->dims[CLASS_AXIS] : 2;
	pai_tensor *labels = pai_tensor_new(j->c->arena, PAI_INT64, 1, (int64_t[]){x->dims[0]});
	if (!labels)
		return pai_fail(j->c->ctx, PAI_E_memory, pai_at_nothing(), "no memory for labels");
	for (int64_t i = 0; i < x->dims[0]; i++)
		((int64_t *)labels->data)[i] = i % classes;
	*out = labels;
	return PAI_OK;
}

static pai_status prepare(job *j, const pai_model *m, subject *s)
{
	pai_value *const *values;
	int n = pai_model_inputs(m, &values);
	PAI_TRY(pai_random_inputs(j->c->ctx, j->c->arena, m, j->c->ctx->seed, &s->in));
	s->out = PAI_NEWS(j->c->arena, const pai_tensor *, m->graph->outputs.n + 1);
	for (int i = 0; i < n && cli_has(j->c, "batch"); i++)
		j->c->ctx->bytes_read += s->in[i]->nbytes; /* asked for: as if it were read */
	if (!j->train) {
		pai_plan_options o = {.often = true,
				      .profile = j->profile,
				      .backend = j->session.backend,
				      .threads = j->session.threads};
		return pai_plan_new(j->c->ctx, m->graph, n, s->in, &o, &s->plan);
	}
	PAI_TRY(make_labels(j, m, s->in[0], &s->labels));
	PAI_TRY(pai_session_new(j->c->ctx, m, &j->session, &s->session));
	return once(s);
}

static void print_steps(job *j, const pai_plan *p)
{
	cli_print(j->c, "%10s %8s  %-26s %-22s %s\n", "us", "GF/s", "step", "implementation",
		  "node");
	for (int i = 0; i < pai_plan_steps(p); i++) {
		pai_step_info s = pai_plan_step(p, i);
		cli_print(j->c, "%10.2f %8.2f  %-26s %-22s %s\n", s.seconds * 1e6,
			  s.seconds > 0 ? s.flops / s.seconds * 1e-9 : 0, s.name, s.impl,
			  s.node ? pai_escape(j->c->arena, pai_node_label(s.node)) : "");
	}
}

static pai_status time_batch(job *j, int64_t batch, figures *f)
{
	pai_model *m;
	subject s = {0};
	double start = pai_now();
	PAI_TRY(cli_model(j->c, j->path, &m));
	pai_status st = batch ? set_batch(j, m, batch) : PAI_OK;
	if (st == PAI_OK)
		st = prepare(j, m, &s);
	f->load_ms = (pai_now() - start) * 1e3;
	if (st == PAI_OK)
		st = measure(j, &s, f);
	const pai_plan *p = s.session ? pai_session_plan(s.session) : s.plan;
	if (st == PAI_OK) {
		f->batch = s.in[0] && s.in[0]->rank ? s.in[0]->dims[0] : 0;
		f->threads = pai_plan_threads(p);
		f->bytes = pai_plan_bytes(p);
		if (j->profile)
			print_steps(j, p);
	}
	pai_plan_free(s.plan);
	pai_session_free(s.session);
	pai_model_free(m);
	return st;
}

static void add_figures(cJSON *o, const figures *f)
{
	cJSON_AddNumberToObject(o, "batch", (double)f->batch);
	cJSON_AddNumberToObject(o, "threads", f->threads);
	cJSON_AddNumberToObject(o, "load_ms", f->load_ms);
	cJSON_AddNumberToObject(o, "min_ms", f->min_ms);
	cJSON_AddNumberToObject(o, "med_ms", f->med_ms);
	cJSON_AddNumberToObject(o, "cpu_ms", f->cpu_ms);
	cJSON_AddBoolToObject(o, "noisy", f->noisy);
	cJSON_AddNumberToObject(o, "arena_bytes", (double)f->bytes);
}

static void show(job *j, const figures *f, int n)
{
	cJSON *o = cJSON_CreateObject();
	add_figures(o, &f[0]);
	cJSON *all = cJSON_AddArrayToObject(o, "batches");
	for (int i = 0; i < n; i++) {
		cJSON *one = cJSON_CreateObject();
		add_figures(one, &f[i]);
		cJSON_AddItemToArray(all, one);
		if (!j->json)
			cli_print(
				j->c,
				"batch %lld, %d threads: %.4g ms%s (median %.4g, processor %.4g), "
				"%.4g samples/s, load and plan %.3g ms, arena %zu bytes\n",
				(long long)f[i].batch, f[i].threads, f[i].min_ms,
				f[i].noisy ? " noisy" : "", f[i].med_ms, f[i].cpu_ms,
				1e3 * (double)f[i].batch / f[i].min_ms, f[i].load_ms, f[i].bytes);
	}
	if (j->json) {
		char *text = cJSON_PrintUnformatted(o);
		cli_print(j->c, "%s\n", text);
		cJSON_free(text);
	}
	if (j->c->report)
		cJSON_AddItemToObject(j->c->report, "bench", o);
	else
		cJSON_Delete(o);
}

static pai_status parse_batches(job *j, int64_t *batches, int *n)
{
	const char *text = cli_get(j->c, "batch");
	for (*n = 0; text && *text; (*n)++) {
		char *end;
		long long v = strtoll(text, &end, 10);
		if (end == text || v < 1 || (*end && *end != ',') || *n == BATCHES)
			return pai_fail(j->c->ctx, PAI_E_bad_value, pai_at_nothing(),
					"--batch=%s: expected up to %d positive integers",
					cli_get(j->c, "batch"), BATCHES);
		batches[*n] = v;
		text = *end ? end + 1 : end;
	}
	if (!*n)
		batches[(*n)++] = 0;
	return PAI_OK;
}

/* sgdm and adam are short for what the comparisons with other tools use. */
static pai_status take_optimizer(job *j)
{
	const char *text = cli_get(j->c, "optimizer");
	pai_item *items;
	int n;
	if (!text || !strcmp(text, "sgdm"))
		text = "sgd{lr=0.0001,momentum=0.9}";
	else if (!strcmp(text, "adam"))
		text = "adam{lr=0.0001}";
	PAI_TRY(pai_items_parse(j->c->ctx, j->c->arena, text, &items, &n));
	const pai_optimizer *o = n == 1 ? pai_optimizer_find(items[0].name) : NULL;
	if (!o)
		return pai_fail(j->c->ctx, PAI_E_unknown_name, pai_at_nothing(),
				"--optimizer=%s: no such optimiser", text);
	PAI_TRY(pai_item_check(j->c->ctx, &items[0], o->options));
	j->session.optimizer = o;
	j->session.optimizer_settings = &items[0];
	j->session.loss = pai_loss_find("cross-entropy");
	return PAI_OK;
}

static pai_status run(cli *c)
{
	job j = {.c = c,
		 .path = c->args[0],
		 .json = cli_has(c, "json"),
		 .train = cli_has(c, "train"),
		 .profile = cli_has(c, "profile"),
		 .rounds = 200,
		 .seconds = 1};
	int64_t batches[BATCHES];
	figures f[BATCHES] = {0};
	int n;
	PAI_TRY(cli_int(c, "rounds", 1, 1000000, &j.rounds));
	PAI_TRY(cli_float(c, "seconds", 0, 1e6, &j.seconds));
	PAI_TRY(cli_backend(c, &j.session.backend));
	PAI_TRY(parse_batches(&j, batches, &n));
	PAI_TRY(take_optimizer(&j));
	j.session.profile = j.profile;
	/* A count that was asked for is used as it is, else the plan picks one. */
	j.session.threads = cli_has(c, "threads") ? c->ctx->threads : 0;
	for (int i = 0; i < n; i++)
		PAI_TRY(time_batch(&j, batches[i], &f[i]));
	show(&j, f, n);
	return PAI_OK;
}

static const cli_option options[] = {
	{"batch", "N,...", "sizes for the free first axis of the inputs"},
	{"train", NULL, "time training steps: cross-entropy against random classes"},
	{"optimizer", "OPT", "sgdm (default), adam, or name{key=value,...}"},
	{"rounds", "N", "at most N rounds of about 10 ms for each size (default 200)"},
	{"seconds", "S", "stop after that time for each size (default 1)"},
	{"profile", NULL, "show the time of every step and what executes it"},
	{"json", NULL, "print one JSON object: the first size, and all of them in \"batches\""},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_bench = {
	.name = "bench",
	.summary = "measure the time of a run or of a training step",
	.usage = "MODEL [--batch=N,...] [--train]",
	.examples = "  pai-opt bench model.onnx --batch=1,32 --threads=1\n"
		    "  pai-opt bench model.onnx --train --optimizer=adam --json\n",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.computes = true,
	.run = run,
};
