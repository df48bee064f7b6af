/* run_folder.c -- what a training run leaves behind. */
#include "runtime/run_folder.h"
#include "compiler/json.h"
#include "runtime/fast/own.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *in_dir(const pai_run_folder *f, const char *name)
{
	return pai_arena_printf(f->arena, "%s/%s", f->dir, name);
}

static pai_status cannot_write(pai_run_folder *f, const char *path)
{
	return pai_fail(f->ctx, PAI_E_cannot_write, pai_at_file(path), "%s", strerror(errno));
}

static pai_status open_text(pai_run_folder *f, const char *name, const char *head, FILE **out)
{
	*out = fopen(in_dir(f, name), "wx");
	if (!*out || fputs(head, *out) < 0)
		return cannot_write(f, in_dir(f, name));
	return PAI_OK;
}

static void put_json(FILE *to, cJSON *object)
{
	char *text = cJSON_PrintUnformatted(object);
	cJSON_Delete(object);
	if (text && to) {
		fprintf(to, "%s\n", text);
		fflush(to);
	}
	free(text);
}

static cJSON *event(const char *name)
{
	cJSON *e = cJSON_CreateObject();
	cJSON_AddStringToObject(e, "event", name);
	return e;
}

static void add_text(cJSON *to, const char *key, const char *v)
{
	if (v)
		cJSON_AddStringToObject(to, key, v);
	else
		cJSON_AddNullToObject(to, key);
}

/* An item with all its settings, as a command line would give it. */
static const char *item_text(pai_run_folder *f, const pai_item *item, const char *name,
			     const pai_option *options)
{
	const pai_item defaults = {.name = name};
	return pai_items_print(f->arena,
			       pai_item_resolve(f->arena, item ? item : &defaults, options), 1);
}

static void add_metrics(cJSON *to, const pai_run_config *r)
{
	cJSON *names = cJSON_AddArrayToObject(to, "metrics");
	for (int i = 0; i < r->scores->n; i++)
		if (pai_metric_applies(r->scores->metric[i], r->options->session.loss))
			cJSON_AddItemToArray(names, cJSON_CreateString(r->scores->metric[i]->name));
}

static void add_session(pai_run_folder *f, cJSON *c, const pai_session_options *s)
{
	add_text(c, "loss", item_text(f, s->loss_settings, s->loss->name, s->loss->options));
	add_text(c, "optimizer",
		 item_text(f, s->optimizer_settings, s->optimizer->name, s->optimizer->options));
	add_text(c, "output", s->output);
	add_text(c, "freeze", s->freeze);
	add_text(c, "trainable", s->trainable);
	cJSON_AddStringToObject(
		c, "seed", pai_arena_printf(f->arena, "%llu", (unsigned long long)f->ctx->seed));
	pai_json_number(c, "threads", s->threads ? s->threads : f->ctx->threads);
	add_text(c, "runtime", s->backend == PAI_FAST ? "fast" : "reference");
	add_text(c, "kernels", pai_own_pick()->name);
	add_text(c, "onednn", pai_onednn_version(f->ctx, f->arena));
	add_text(c, "onednn_isa", pai_onednn_isa(f->ctx));
}

static pai_status write_config(pai_run_folder *f, const pai_run_config *r)
{
	const pai_train_options *o = r->options;
	const pai_schedule *schedule = o->schedule ? o->schedule : pai_schedule_find("constant");
	cJSON *c = cJSON_CreateObject();
	cJSON_AddNumberToObject(c, "schema", 1);
	add_text(c, "version", PAI_VERSION);
	add_text(c, "model", r->model->path);
	add_text(c, "rewrites", o->rewrites);
	add_text(c, "data", o->data->path);
	add_text(c, "label", pai_label_field(o->data, o->label)->name);
	pai_json_number(c, "samples", (double)o->data->n);
	add_text(c, "val", o->val ? o->val->path : NULL);
	add_text(c, "schedule",
		 item_text(f, o->schedule_settings, schedule->name, schedule->options));
	add_text(c, "metric", r->scores->metric[r->chooser]->name);
	if (o->val)
		add_metrics(c, r);
	pai_json_number(c, "epochs", r->epochs);
	pai_json_number(c, "steps", (double)r->steps);
	pai_json_number(c, "batch_size", r->batch);
	cJSON_AddBoolToObject(c, "shuffle", o->shuffle);
	cJSON_AddBoolToObject(c, "drop_last", o->drop_last);
	add_session(f, c, &o->session);
	char *text = cJSON_Print(c);
	cJSON_Delete(c);
	if (!text)
		return pai_fail(f->ctx, PAI_E_memory, pai_at_file(f->dir), "for config.json");
	pai_writer *w;
	pai_status status = pai_writer_open(f->ctx, in_dir(f, "config.json"), &w);
	if (status == PAI_OK) {
		pai_writer_printf(w, "%s\n", text);
		status = pai_writer_commit(w);
	}
	free(text);
	return status;
}

/* Columns after those that every run has. */
static const char *further_columns(pai_run_folder *f, const pai_scores *s)
{
	const char *names = "";
	for (int i = PAI_SCORE_FURTHER; i < s->n; i++)
		names = pai_arena_printf(f->arena, "%s,val_%s", names, s->metric[i]->name);
	return names;
}

static pai_status open_folder(pai_run_folder *f, const pai_run_config *r)
{
	if (mkdir(f->dir, 0777) != 0)
		return errno == EEXIST ? pai_fail(f->ctx, PAI_E_run_dir, pai_at_file(f->dir),
						  "exists already")
				       : cannot_write(f, f->dir);
	PAI_TRY(write_config(f, r));
	PAI_TRY(open_text(f, "steps.csv", "step,epoch,loss,lr,seconds\n", &f->steps));
	const char *head = pai_arena_printf(
		f->arena, "epoch,steps,train_loss,val_loss,val_accuracy,lr,seconds%s\n",
		further_columns(f, r->scores));
	PAI_TRY(open_text(f, "epochs.csv", head, &f->epochs));
	PAI_TRY(open_text(f, "events.jsonl", "", &f->events));
	put_json(f->events, event("start"));
	return PAI_OK;
}

pai_status pai_run_folder_open(pai_ctx *ctx, pai_arena *a, const pai_run_config *config,
			       pai_run_folder *out)
{
	const pai_train_options *o = config->options;
	*out = (pai_run_folder){
		.ctx = ctx, .arena = a, .dir = o->run_dir, .log_path = o->log_steps};
	if (o->log_steps) {
		out->log = tmpfile();
		if (!out->log)
			return cannot_write(out, o->log_steps);
		fprintf(out->log, "step,epoch,loss,lr\n");
	}
	return out->dir ? open_folder(out, config) : PAI_OK;
}

void pai_run_folder_step(pai_run_folder *f, uint64_t step, int epoch, float loss, double lr,
			 double seconds)
{
	/* Nine digits tell every float from its neighbours. */
	if (f->log)
		fprintf(f->log, "%llu,%d,%.9g,%.9g\n", (unsigned long long)step, epoch,
			(double)loss, lr);
	if (f->steps)
		fprintf(f->steps, "%llu,%d,%.9g,%.7g,%.6f\n", (unsigned long long)step, epoch,
			(double)loss, lr, seconds);
}

static void add_scores(const pai_run_folder *f, cJSON *to, const pai_epoch_row *row)
{
	pai_json_number(to, "val_loss", row->val_loss);
	pai_json_number(to, "val_accuracy", row->val_accuracy);
	for (int i = PAI_SCORE_FURTHER; i < row->scores.n; i++)
		pai_json_number(to,
				pai_arena_printf(f->arena, "val_%s", row->scores.metric[i]->name),
				row->scores.value[i]);
}

static pai_status plot(pai_run_folder *f)
{
	int n = f->rows.n;
	pai_arena *scratch = pai_arena_new(f->ctx);
	double *columns[4]; /* epoch, train loss, val loss, val accuracy */
	for (int k = 0; k < 4; k++)
		columns[k] = PAI_NEWS(scratch, double, n);
	bool val = false, accuracy = false;
	for (int i = 0; i < n; i++) {
		const pai_epoch_row *r = &f->rows.at[i];
		columns[0][i] = r->epoch;
		columns[1][i] = r->train_loss;
		columns[2][i] = r->val_loss;
		columns[3][i] = r->val_accuracy;
		val |= isfinite(r->val_loss);
		accuracy |= isfinite(r->val_accuracy);
	}
	const pai_series losses[] = {{"training", n, columns[0], columns[1]},
				     {"validation", n, columns[0], columns[2]}};
	const pai_series accuracies[] = {{"validation", n, columns[0], columns[3]}};
	const pai_panel panels[] = {{"Loss", "epoch", "loss", val ? 2 : 1, losses},
				    {"Accuracy", "epoch", "share right", 1, accuracies}};
	pai_status status = pai_plot_write(f->ctx, pai_arena_printf(scratch, "%s/plot.svg", f->dir),
					   "Training run", accuracy ? 2 : 1, panels);
	pai_arena_free(scratch);
	return status;
}

/* A cell stays empty where nothing was measured. */
static void put_score(FILE *to, double v)
{
	if (isfinite(v))
		fprintf(to, "%.9g", v);
}

pai_status pai_run_folder_epoch(pai_run_folder *f, const pai_epoch_row *row)
{
	if (!f->dir)
		return PAI_OK;
	PAI_PUSH(f->arena, f->rows, *row);
	fprintf(f->epochs, "%d,%llu,", row->epoch, (unsigned long long)row->steps);
	put_score(f->epochs, row->train_loss);
	fputc(',', f->epochs);
	put_score(f->epochs, row->val_loss);
	fputc(',', f->epochs);
	put_score(f->epochs, row->val_accuracy);
	fprintf(f->epochs, ",%.7g,%.3f", row->lr, row->train_seconds);
	for (int i = PAI_SCORE_FURTHER; i < row->scores.n; i++) {
		fputc(',', f->epochs);
		put_score(f->epochs, row->scores.value[i]);
	}
	fputc('\n', f->epochs);
	cJSON *e = event("epoch");
	pai_json_number(e, "epoch", row->epoch);
	pai_json_number(e, "steps", (double)row->steps);
	pai_json_number(e, "train_loss", row->train_loss);
	add_scores(f, e, row);
	put_json(f->events, e);
	fflush(f->epochs);
	fflush(f->steps);
	return plot(f);
}

pai_status pai_run_folder_best(pai_run_folder *f, const pai_model *m, const pai_session *s,
			       const pai_epoch_row *row)
{
	if (!f->dir)
		return PAI_OK;
	pai_model *copy = pai_model_clone(m);
	pai_status status = pai_session_store(s, copy);
	if (status == PAI_OK)
		status = pai_model_write(copy, in_dir(f, "best.onnx"), NULL);
	pai_model_free(copy);
	PAI_TRY(status);
	cJSON *e = event("best");
	pai_json_number(e, "epoch", row->epoch);
	add_scores(f, e, row);
	put_json(f->events, e);
	return PAI_OK;
}

pai_status pai_run_folder_last(const pai_run_folder *f, const pai_model *m)
{
	return f->dir ? pai_model_write(m, in_dir(f, "last.onnx"), NULL) : PAI_OK;
}

static bool close_text(FILE *f)
{
	if (!f)
		return true;
	bool good = !ferror(f);
	return fclose(f) == 0 && good;
}

/* A killed run leaves no part of the log: it gets its name when all of it is there. */
static pai_status name_log(pai_run_folder *f)
{
	char piece[4096];
	pai_writer *w;
	if (fseek(f->log, 0, SEEK_SET) != 0 || ferror(f->log))
		return cannot_write(f, f->log_path);
	PAI_TRY(pai_writer_open(f->ctx, f->log_path, &w));
	for (size_t n; (n = fread(piece, 1, sizeof piece, f->log)) > 0;)
		pai_writer_put(w, piece, n);
	if (ferror(f->log)) {
		pai_writer_discard(w);
		return cannot_write(f, f->log_path);
	}
	return pai_writer_commit(w);
}

pai_status pai_run_folder_close(pai_run_folder *f, pai_status run, bool stopped)
{
	if (f->events) {
		cJSON *e = event(run != PAI_OK ? "failed" : stopped ? "stopped" : "end");
		pai_json_number(e, "status", run);
		put_json(f->events, e);
	}
	bool good = close_text(f->steps);
	good &= close_text(f->epochs);
	good &= close_text(f->events);
	if (f->log && run == PAI_OK && !stopped)
		run = name_log(f);
	close_text(f->log);
	return run == PAI_OK && !good ? cannot_write(f, f->dir) : run;
}
