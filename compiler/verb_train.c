/* verb_train.c -- pai-opt train MODEL --data=D: options to pai_train, progress, report. */
#include "compiler/cli.h"
#include "compiler/json.h"
#include <math.h>
#include <signal.h>
#include <string.h>

typedef struct job {
	const char *in, *out;
	pai_train_options o;
	pai_pipeline pipeline; /* rewrites before training */
	pai_dataset *data, *val;
	pai_train_result result;
	const pai_metric **metrics;
} job;

static pai_status unknown(cli *c, const char *option, const char *name, pai_table table)
{
	return pai_fail(c->ctx, PAI_E_unknown_name, pai_at_nothing(), "--%s: there is no \"%s\"%s",
			option, name, pai_did_you_mean(c->ctx, pai_table_nearest(table, name)));
}

/* The one name{...} of an option, or what it is without, and its row of the table. */
static pai_status one_row(cli *c, const char *option, const char *otherwise, pai_table table,
			  const pai_item **item, const void **row)
{
	const char *text = cli_get(c, option);
	pai_item *items;
	int n;
	PAI_TRY(pai_items_parse(c->ctx, c->arena, text ? text : otherwise, &items, &n));
	if (n != 1)
		return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
				"--%s: takes one name{key=value,...}, not %d", option, n);
	*item = items;
	*row = pai_table_find(table, items->name);
	return *row ? PAI_OK : unknown(c, option, items->name, table);
}

static pai_status take_loss(cli *c, pai_session_options *s)
{
	const void *row;
	if (!cli_get(c, "loss"))
		return PAI_OK; /* by the labels, when they are known */
	PAI_TRY(one_row(c, "loss", "", pai_loss_table, &s->loss_settings, &row));
	s->loss = row;
	return pai_item_check(c->ctx, s->loss_settings, s->loss->options);
}

static pai_status take_optimizer(cli *c, pai_session_options *s)
{
	const void *row;
	PAI_TRY(one_row(c, "optimizer", "adam", pai_optimizer_table, &s->optimizer_settings, &row));
	s->optimizer = row;
	return pai_item_check(c->ctx, s->optimizer_settings, s->optimizer->options);
}

static pai_status take_schedule(cli *c, pai_train_options *o)
{
	const void *row;
	PAI_TRY(one_row(c, "schedule", "constant", pai_schedule_table, &o->schedule_settings,
			&row));
	o->schedule = row;
	return pai_item_check(c->ctx, o->schedule_settings, o->schedule->options);
}

static pai_status take_metrics(cli *c, job *j)
{
	pai_item *items;
	const char *text = cli_get(c, "metric");
	if (!text)
		return PAI_OK;
	PAI_TRY(pai_items_parse(c->ctx, c->arena, text, &items, &j->o.n_metrics));
	if (!j->o.n_metrics)
		return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
				"--metric: takes names, see --list-metrics");
	j->metrics = PAI_NEWS(c->arena, const pai_metric *, j->o.n_metrics);
	for (int i = 0; i < j->o.n_metrics; i++) {
		j->metrics[i] = pai_metric_find(items[i].name);
		if (!j->metrics[i])
			return unknown(c, "metric", items[i].name, pai_metric_table);
		PAI_TRY(pai_item_check(c->ctx, &items[i], NULL));
	}
	j->o.metrics = j->metrics;
	if (!cli_get(c, "val"))
		return pai_fail(c->ctx, PAI_E_missing_argument, pai_at_nothing(),
				"--metric is measured on --val=FILE");
	return PAI_OK;
}

/* --passes, then --dendrites, then --transforms, as one pipeline; empty when none is given. */
static pai_status take_rewrites(cli *c, job *j)
{
	const char *passes = cli_get(c, "passes"), *dendrites = cli_get(c, "dendrites"),
		   *transforms = cli_get(c, "transforms");
	const char *text = passes ? passes : "";
	if (dendrites)
		text = pai_arena_printf(c->arena, "%s%sadd-dendrites{%s}", text, *text ? "," : "",
					strcmp(dendrites, "auto") == 0 ? "" : dendrites);
	if (transforms) {
		pai_setting rules = {"rules", transforms};
		pai_item item = {"add-transforms", &rules, 1};
		text = pai_arena_printf(c->arena, "%s%s%s", text, *text ? "," : "",
					pai_items_print(c->arena, &item, 1));
	}
	return pai_pipeline_parse(c->ctx, c->arena, text, &j->pipeline);
}

static pai_status take_numbers(cli *c, pai_train_options *o)
{
	int64_t epochs = cli_has(c, "steps") ? 0 : 10, steps = 0, batch = 0;
	int shuffle = 0;
	PAI_TRY(cli_int(c, "epochs", 1, 1000000, &epochs));
	PAI_TRY(cli_int(c, "steps", 1, INT64_MAX / 2, &steps));
	PAI_TRY(cli_int(c, "batch-size", 1, 1 << 24, &batch));
	PAI_TRY(cli_choice(c, "shuffle", "on|off", &shuffle));
	o->epochs = (int)epochs;
	o->steps = (uint64_t)steps;
	o->batch = (int)batch;
	o->shuffle = shuffle == 0;
	o->drop_last = cli_has(c, "drop-last");
	return PAI_OK;
}

static pai_status take_options(cli *c, job *j)
{
	pai_session_options *s = &j->o.session;
	if (!cli_get(c, "data"))
		return pai_fail(c->ctx, PAI_E_missing_argument, pai_at_nothing(),
				"train needs --data=FILE");
	PAI_TRY(take_loss(c, s));
	PAI_TRY(take_optimizer(c, s));
	PAI_TRY(take_schedule(c, &j->o));
	PAI_TRY(take_metrics(c, j));
	PAI_TRY(take_numbers(c, &j->o));
	PAI_TRY(take_rewrites(c, j));
	PAI_TRY(cli_backend(c, &s->backend));
	s->output = cli_get(c, "output-name");
	s->freeze = cli_get(c, "freeze");
	s->trainable = cli_get(c, "trainable");
	j->o.label = cli_get(c, "label");
	j->o.run_dir = cli_get(c, "run-dir");
	j->o.log_steps = cli_get(c, "log-steps");
	j->in = c->args[0];
	j->out = cli_get(c, "o") ? cli_get(c, "o")
				 : cli_output_beside(c, j->in, ".trained", cli_is_text(j->in));
	c->quiet |= strcmp(j->out, "-") == 0;
	PAI_TRY(cli_try_output(c, j->out));
	return cli_try_output(c, j->o.log_steps);
}

static void show_epoch(cli *c, const pai_train_progress *p)
{
	cli_progress_end(c);
	char val[64] = "", accuracy[64] = "";
	if (!isnan(p->val_loss))
		snprintf(val, sizeof val, ", validation %.4f", p->val_loss);
	if (!isnan(p->val_accuracy))
		snprintf(accuracy, sizeof accuracy, ", accuracy %.2f %%", 100 * p->val_accuracy);
	cli_print(c, "epoch %d/%d: loss %.4f%s%s", p->epoch, p->epochs, p->loss, val, accuracy);
	for (int i = PAI_SCORE_FURTHER; p->scores && i < p->scores->n; i++)
		cli_print(c, ", %s %.4g", p->scores->metric[i]->name, p->scores->value[i]);
	cli_print(c, ", %.1f s\n", p->seconds);
}

static void progress(void *payload, const pai_train_progress *p)
{
	cli *c = payload;
	if (p->epoch_end) {
		show_epoch(c, p);
		return;
	}
	char text[96];
	snprintf(text, sizeof text, "epoch %d/%d  loss %.4f", p->epoch, p->epochs, p->loss);
	cli_progress(c, (double)p->step, (double)p->steps, p->seconds_left, text);
}

/* What a signal handler can reach: the signal that asks training to end; 0: none. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	interrupted = sig;
}

static bool stop(void *payload)
{
	(void)payload;
	return interrupted != 0;
}

/* The first signal ends the run after its step, a second one ends the program. Signals that whoever
 * started us has set to be ignored stay so. */
static void heed_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	const struct sigaction ours = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND};
	struct sigaction was;
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (sigaction(signals[i], NULL, &was) == 0 && was.sa_handler == SIG_DFL)
			sigaction(signals[i], &ours, NULL);
}

/* Whole numbers count classes, others are targets. */
static void choose_loss(const pai_dataset *d, pai_train_options *o)
{
	const pai_field *f = pai_label_field(d, o->label);
	bool floats = f && pai_dtype_get(f->tensor.dtype)->kind == PAI_KIND_FLOAT;
	if (!o->session.loss)
		o->session.loss = pai_loss_find(floats ? "mse" : "cross-entropy");
}

static const char *resolved(cli *c, const pai_item *item, const pai_option *options)
{
	return pai_items_print(c->arena, pai_item_resolve(c->arena, item, options), 1);
}

static void report(cli *c, const job *j)
{
	if (!c->report)
		return;
	cJSON *t = cJSON_AddObjectToObject(c->report, "train");
	cJSON_AddStringToObject(t, "data", j->data->path);
	cJSON_AddStringToObject(t, "loss_name", j->o.session.loss->name);
	cJSON_AddStringToObject(
		t, "optimizer",
		resolved(c, j->o.session.optimizer_settings, j->o.session.optimizer->options));
	cJSON_AddNumberToObject(t, "samples", (double)j->data->n);
	cJSON_AddNumberToObject(t, "epochs", j->result.epochs);
	cJSON_AddNumberToObject(t, "steps", (double)j->result.steps);
	pai_json_number(t, "loss", j->result.loss);
	pai_json_number(t, "val_loss", j->result.val_loss);
	pai_json_number(t, "val_accuracy", j->result.val_accuracy);
	pai_json_number(t, "best_accuracy", j->result.best_accuracy);
	cJSON_AddStringToObject(t, "schedule",
				resolved(c, j->o.schedule_settings, j->o.schedule->options));
	cJSON_AddStringToObject(t, "metric", j->result.metric ? j->result.metric->name : "");
	pai_json_number(t, "best", j->result.best);
	cJSON *scores = cJSON_AddObjectToObject(t, "val_scores");
	for (int i = 0; i < j->result.scores.n; i++)
		pai_json_number(scores, j->result.scores.metric[i]->name,
				j->result.scores.value[i]);
	pai_json_number(t, "seconds", j->result.seconds);
}

static pai_status rewrite(cli *c, job *j, pai_model *m)
{
	if (!j->pipeline.n)
		return PAI_OK;
	const pai_pipeline_options options = {.stop_after = -1};
	pai_pipeline_report done;
	PAI_TRY(pai_pipeline_run(m, &j->pipeline, &options, c->arena, &done));
	cli_print(c, "before training: %llu rewrites\n", (unsigned long long)done.rewrites);
	return pai_infer(m);
}

static pai_status train(cli *c, job *j, pai_model *m)
{
	PAI_TRY(pai_model_initialize(m)); /* rewrites may look at contents */
	PAI_TRY(pai_lift_constants(m, j->o.session.trainable));
	PAI_TRY(rewrite(c, j, m));
	PAI_TRY(pai_dataset_open(c->ctx, cli_get(c, "data"), &j->data));
	if (cli_get(c, "val"))
		PAI_TRY(pai_dataset_open(c->ctx, cli_get(c, "val"), &j->val));
	choose_loss(j->data, &j->o);
	j->o.data = j->data;
	j->o.val = j->val;
	if (j->pipeline.n)
		j->o.rewrites = pai_items_print(c->arena, j->pipeline.items, j->pipeline.n);
	j->o.progress = progress;
	j->o.stop = stop;
	j->o.payload = c;
	heed_signals();
	pai_status status = pai_train(c->ctx, m, &j->o, &j->result);
	cli_progress_end(c);
	PAI_TRY(status);
	report(c, j);
	if (j->result.stopped) {
		c->signal = interrupted;
		return pai_fail(c->ctx, PAI_E_interrupted, pai_at_nothing(),
				"interrupted after step %llu; %s was not written",
				(unsigned long long)j->result.steps, j->out);
	}
	PAI_TRY(pai_model_write(m, j->out, NULL));
	cli_print(c, "%llu steps in %s, wrote %s\n", (unsigned long long)j->result.steps,
		  cli_duration(c, j->result.seconds), j->out);
	if (!j->o.run_dir)
		return PAI_OK;
	cli_print(c,
		  "the run is in %s: config.json, steps.csv, epochs.csv, events.jsonl, plot.svg, "
		  "last.onnx",
		  j->o.run_dir);
	if (isnan(j->result.best))
		cli_print(c, "; no best.onnx, as %s was never a number\n", j->result.metric->name);
	else
		cli_print(c, ", best.onnx (%s %.6g)\n", j->result.metric->name, j->result.best);
	return PAI_OK;
}

static pai_status run(cli *c)
{
	job j = {0};
	pai_model *m;
	PAI_TRY(take_options(c, &j));
	PAI_TRY(cli_model(c, j.in, &m));
	pai_status status = train(c, &j, m);
	pai_dataset_free(j.val);
	pai_dataset_free(j.data);
	pai_model_free(m);
	return status;
}

static const cli_option options[] = {
	{"data", "FILE", "samples to train on: .npz, IDX pair, folder; :N or :A-B takes a part"},
	{"val", "FILE", "samples to measure after each epoch"},
	{"label", "KEY", "field of the labels (default: label, labels)"},
	{"output-name", "NAME", "output the loss is taken of, where there are several"},
	{"loss", "LOSS", "name{key=value,...} (default: by the labels); see --list-losses"},
	{"optimizer", "OPT", "name{key=value,...} (default: adam); see --list-optimizers"},
	{"schedule", "SCHEDULE",
	 "of the learning rate: name{key=value,...} (default: constant); see --list-schedules"},
	{"metric", "NAME,...",
	 "scores on --val; the first one chooses best.onnx (default: accuracy, else loss); see "
	 "--list-metrics"},
	{"epochs", "N", "passes over the data (default 10)"},
	{"steps", "N", "batches at most"},
	{"batch-size", "N", "samples in a step (default 32)"},
	{"shuffle", "on|off", "new order in each epoch, by the seed (default on)"},
	{"drop-last", NULL, "leave out the last batch when it is smaller"},
	{"freeze", "GLOB", "initialisers that stay as they are"},
	{"trainable", "GLOB", "only these initialisers move"},
	{"passes", "PIPELINE", "rewrites before training"},
	{"dendrites", "SETTINGS", "add-dendrites{SETTINGS} before training; auto: its defaults"},
	{"transforms", "RULES", "add-transforms{rules=RULES} before training"},
	{"run-dir", "DIR", "a new folder for all that the run leaves"},
	{"log-steps", "FILE", "loss of each step with all digits, as CSV"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_train = {
	.name = "train",
	.summary = "train a model on labelled data; uint8 samples are divided by 255",
	.usage = "MODEL --data=FILE [--val=FILE] [-o OUT]",
	.examples = "  pai-opt train model.onnx --data=train.npz --val=val.npz -o trained.onnx\n"
		    "  pai-opt train model.onnx --data=images.idx3.gz,labels.idx1.gz:50000 \\\n"
		    "      --optimizer='sgd{lr=0.05,momentum=0.9}' --epochs=5 --run-dir=run1\n"
		    "  pai-opt train model.onnx --data=d.npz --optimizer='adam{lr=1e-3}' \\\n"
		    "      --schedule='cosine{warmup=100}' --dendrites=auto\n"
		    "  pai-opt train model.onnx --data=d.npz "
		    "--transforms='weights:int_quant{n_bits=4}'\n",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.computes = true,
	.run = run,
};
