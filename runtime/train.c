/* train.c -- the training loop: epochs of shuffled batches, measuring, keeping what was good.
 *
 * The order of the samples depends on the seed and the epoch only, and everything else on the
 * weights and that order, so a run is the same bit for bit for a given seed, number of threads and
 * instruction set. After each epoch the weights are kept; a loss that is not finite ends the run
 * with those.
 */
#include "runtime/run_folder.h"
#include <limits.h>
#include <math.h>
#include <string.h>

enum { DEFAULT_BATCH = 32 };

typedef struct trainer {
	pai_ctx *ctx;
	pai_arena *arena;
	pai_model *model;
	pai_train_options o;
	pai_session *session;
	pai_batcher data, val;
	pai_run_folder folder;
	int64_t *order, *val_order;
	int batch, epochs;
	uint64_t steps, steps_per_epoch, steps_in_all;
	double start, epoch_start, loss_sum;
	int64_t loss_samples;
	pai_scheduling schedule;
	double lr; /* before the schedule */
	pai_train_result result;
} trainer;

/* Fisher and Yates; stream 1 of the seed, epoch as its step. */
static void shuffle(const trainer *t, int epoch)
{
	pai_random r = pai_random_new(t->ctx->seed, 1, (uint64_t)epoch);
	for (int64_t i = 0; i < t->data.n; i++)
		t->order[i] = i;
	for (int64_t i = t->data.n - 1; i > 0; i--) {
		uint32_t word[4];
		pai_random_block(&r, (uint64_t)i, word);
		uint64_t bits = (uint64_t)word[0] << 32 | word[1];
		int64_t k = (int64_t)(((unsigned __int128)bits * (uint64_t)(i + 1)) >> 64);
		int64_t swap = t->order[i];
		t->order[i] = t->order[k];
		t->order[k] = swap;
	}
}

static void report(const trainer *t, int epoch, float loss, const pai_epoch_row *row)
{
	if (!t->o.progress)
		return;
	pai_train_progress p = {
		.epoch = epoch,
		.epochs = t->epochs,
		.step = t->steps,
		.steps = t->steps_in_all,
		.seconds = pai_now() - t->start,
		.loss = (double)loss,
		.lr = (double)pai_session_lr(t->session),
		.val_loss = NAN,
		.val_accuracy = NAN,
		.epoch_end = row != NULL,
	};
	p.seconds_left = p.seconds / (double)t->steps * (double)(t->steps_in_all - t->steps);
	if (row) {
		p.loss = row->train_loss;
		p.val_loss = row->val_loss;
		p.val_accuracy = row->val_accuracy;
	}
	t->o.progress(t->o.payload, &p);
}

static pai_status train_batch(trainer *t, int epoch, int64_t from, int n)
{
	float loss;
	double began = pai_now();
	pai_session_set_lr(t->session,
			   (float)(t->lr * pai_scheduling_factor(&t->schedule, t->steps)));
	pai_batch_fill(&t->data, t->order + from, n);
	PAI_TRY(pai_session_step(t->session, (const pai_tensor *const *)t->data.inputs,
				 t->data.labels, &loss));
	t->steps++;
	t->loss_sum += (double)loss * n;
	t->loss_samples += n;
	pai_run_folder_step(&t->folder, t->steps, epoch, loss, (double)pai_session_lr(t->session),
			    pai_now() - began);
	report(t, epoch, loss, NULL);
	return PAI_OK;
}

typedef struct measure {          /* over a data set */
	const pai_metric *metric; /* beside loss and accuracy; NULL: none */
	bool classes;
	pai_tally loss, accuracy, chosen;
} measure;

static void take(const pai_metric *metric, const measure *m, pai_tally *t, const pai_tensor *output,
		 const pai_tensor *labels, double loss)
{
	if (metric && (m->classes || !metric->of_classes))
		metric->add(t, output, labels, loss);
}

static void measure_batch(measure *m, const pai_tensor *output, const pai_tensor *labels, int n,
			  float loss)
{
	m->loss.sum += (double)loss * n;
	m->loss.count += n;
	take(pai_metric_find("accuracy"), m, &m->accuracy, output, labels, (double)loss);
	take(m->metric, m, &m->chosen, output, labels, (double)loss);
}

static double tally(const pai_tally *t)
{
	return t->count > 0 ? t->sum / t->count : (double)NAN;
}

static pai_status validate(trainer *t, pai_epoch_row *row)
{
	measure m = {.metric = t->o.metric, .classes = t->o.session.loss->integer_labels};
	for (int64_t from = 0; from < t->val.n; from += t->batch) {
		int n = (int)(t->val.n - from < t->batch ? t->val.n - from : t->batch);
		pai_batch_fill(&t->val, t->val_order + from, n);
		const pai_tensor *output;
		float loss;
		PAI_TRY(pai_session_evaluate(t->session, (const pai_tensor *const *)t->val.inputs,
					     t->val.labels, &output, &loss));
		measure_batch(&m, output, t->val.labels, n, loss);
	}
	row->val_loss = tally(&m.loss);
	row->val_accuracy = tally(&m.accuracy);
	row->val_chosen = tally(&m.chosen);
	return PAI_OK;
}

/* What chooses the best model: the metric asked for, else accuracy where there is one, else the
 * loss, of validation where there is one. */
static double score_of(trainer *t, const pai_epoch_row *row)
{
	const pai_metric *m = t->o.metric;
	bool measured = !isnan(row->val_loss);
	if (!m)
		m = pai_metric_find(isfinite(row->val_accuracy) ? "accuracy" : "loss");
	t->result.metric = m;
	if (t->o.metric)
		return row->val_chosen;
	if (m->of_classes)
		return row->val_accuracy;
	return measured ? row->val_loss : row->train_loss;
}

static bool improves(const trainer *t, double score)
{
	if (isnan(score) || isnan(t->result.best))
		return !isnan(score);
	return t->result.metric->higher_is_better ? score > t->result.best : score < t->result.best;
}

static pai_status end_epoch(trainer *t, int epoch)
{
	const char *name;
	if (!pai_session_finite(t->session, &name))
		return pai_fail(t->ctx, PAI_E_not_finite, pai_at_file(t->model->path),
				"initialiser \"%s\" has NaN or infinite elements after epoch %d",
				name, epoch);
	pai_epoch_row row = {
		.epoch = epoch,
		.steps = t->steps,
		.train_loss = t->loss_sum / (double)t->loss_samples,
		.train_seconds = pai_now() - t->epoch_start,
		.lr = (double)pai_session_lr(t->session),
		.val_loss = (double)NAN,
		.val_accuracy = (double)NAN,
		.val_chosen = (double)NAN,
	};
	if (t->o.val)
		PAI_TRY(validate(t, &row));
	PAI_TRY(pai_session_keep(t->session));
	PAI_TRY(pai_run_folder_epoch(&t->folder, &row));
	double score = score_of(t, &row);
	if (improves(t, score)) {
		t->result.best = score;
		t->result.best_accuracy = row.val_accuracy;
		PAI_TRY(pai_run_folder_best(&t->folder, t->model, t->session, &row));
	}
	t->result.epochs = epoch;
	t->result.loss = row.train_loss;
	t->result.val_loss = row.val_loss;
	t->result.val_accuracy = row.val_accuracy;
	report(t, epoch, 0, &row);
	return PAI_OK;
}

static pai_status run_epoch(trainer *t, int epoch)
{
	t->epoch_start = pai_now();
	t->loss_sum = 0;
	t->loss_samples = 0;
	if (t->o.shuffle)
		shuffle(t, epoch);
	for (int64_t from = 0; from < t->data.n && t->steps < t->steps_in_all; from += t->batch) {
		int64_t left = t->data.n - from;
		if (left < t->batch && t->o.drop_last)
			break;
		PAI_TRY(train_batch(t, epoch, from, (int)(left < t->batch ? left : t->batch)));
	}
	return end_epoch(t, epoch);
}

/* A model that fixes its batch takes no smaller one, be it to learn from or to measure. */
static pai_status fits(const trainer *t, const pai_dataset *d, int64_t fixed, bool drop_last)
{
	if (fixed <= 0 || (t->batch == fixed && (d->n % fixed == 0 || drop_last)))
		return PAI_OK;
	return pai_fail(
		t->ctx, PAI_E_field_mismatch, pai_at_file(d->path),
		"%lld samples in batches of %d, but the model takes exactly %lld at a time; "
		"make its first dimension symbolic, or use --batch-size=%lld%s",
		(long long)d->n, t->batch, (long long)fixed, (long long)fixed,
		d == t->o.data ? " --drop-last" : " and a multiple of that to measure on");
}

static pai_status choose_batch(trainer *t)
{
	int64_t fixed = pai_fixed_batch(t->model);
	t->batch = t->o.batch > 0 ? t->o.batch : fixed > 0 ? (int)fixed : DEFAULT_BATCH;
	PAI_TRY(fits(t, t->o.data, fixed, t->o.drop_last));
	if (t->o.val)
		PAI_TRY(fits(t, t->o.val, fixed, false));
	if (t->batch > t->o.data->n && t->o.drop_last)
		return pai_fail(t->ctx, PAI_E_samples, pai_at_file(t->o.data->path),
				"has %lld samples, fewer than one batch of %d",
				(long long)t->o.data->n, t->batch);
	return PAI_OK;
}

static pai_status choose_length(trainer *t)
{
	int64_t n = t->data.n, batch = t->batch;
	t->steps_per_epoch = (uint64_t)(t->o.drop_last ? n / batch : (n + batch - 1) / batch);
	uint64_t by_epochs = t->steps_per_epoch * (uint64_t)(t->o.epochs > 0 ? t->o.epochs : 0);
	t->steps_in_all = by_epochs;
	if (t->o.steps && (!by_epochs || t->o.steps < by_epochs))
		t->steps_in_all = t->o.steps;
	uint64_t epochs = (t->steps_in_all - 1) / t->steps_per_epoch + 1;
	if (epochs > INT_MAX)
		return pai_fail(t->ctx, PAI_E_bad_value, pai_at_nothing(),
				"%llu steps are %llu epochs of %llu, allowed are %d epochs",
				(unsigned long long)t->steps_in_all, (unsigned long long)epochs,
				(unsigned long long)t->steps_per_epoch, INT_MAX);
	t->epochs = (int)epochs;
	return PAI_OK;
}

static bool are_floats(const pai_field *f)
{
	return f && pai_dtype_get(f->tensor.dtype)->kind == PAI_KIND_FLOAT;
}

static int64_t *in_order(trainer *t, int64_t n)
{
	int64_t *order = PAI_NEWS(t->arena, int64_t, n + 1);
	for (int64_t i = 0; i < n; i++)
		order[i] = i;
	return order;
}

static pai_status prepare(trainer *t)
{
	PAI_TRY(pai_model_initialize(t->model));
	PAI_TRY(pai_separate_statistics(t->model));
	PAI_TRY(choose_batch(t));
	const pai_field *labels = pai_label_field(t->o.data, t->o.label);
	t->o.session.float_labels = t->o.session.loss->integer_labels && are_floats(labels);
	PAI_TRY(pai_session_new(t->ctx, t->model, &t->o.session, &t->session));
	const pai_objective *objective = pai_session_objective(t->session);
	PAI_TRY(pai_batcher_new(t->ctx, t->arena, objective, t->o.data, t->o.label, t->batch,
				&t->data));
	if (t->o.val)
		PAI_TRY(pai_batcher_new(t->ctx, t->arena, objective, t->o.val, t->o.label, t->batch,
					&t->val));
	PAI_TRY(choose_length(t));
	t->lr = (double)pai_session_lr(t->session);
	t->schedule = pai_scheduling_new(
		t->arena, t->o.schedule ? t->o.schedule : pai_schedule_find("constant"),
		t->o.schedule_settings, t->steps_in_all, t->steps_per_epoch);
	t->order = in_order(t, t->data.n);
	t->val_order = in_order(t, t->val.n);
	PAI_TRY(pai_run_folder_open(t->ctx, t->arena, t->model, &t->o, t->batch, &t->folder));
	return pai_session_keep(t->session);
}

static pai_status run_epochs(trainer *t)
{
	PAI_TRY(prepare(t));
	t->start = pai_now();
	for (int epoch = 1; epoch <= t->epochs; epoch++)
		PAI_TRY(run_epoch(t, epoch));
	return PAI_OK;
}

pai_status pai_train(pai_ctx *ctx, pai_model *m, const pai_train_options *o, pai_train_result *out)
{
	trainer t = {.ctx = ctx, .arena = pai_arena_new(ctx), .model = m, .o = *o};
	t.result = (pai_train_result){
		.val_loss = NAN, .val_accuracy = NAN, .best_accuracy = NAN, .best = NAN};
	pai_status status = run_epochs(&t);
	if (t.session && (status == PAI_OK || status == PAI_NUMERIC)) {
		if (status == PAI_NUMERIC)
			pai_session_restore(t.session);
		pai_status stored = pai_session_store(t.session, m);
		if (stored == PAI_OK)
			stored = pai_run_folder_last(&t.folder, m);
		status = status == PAI_OK ? stored : status;
	}
	status = pai_run_folder_close(&t.folder, status);
	t.result.steps = t.steps;
	t.result.seconds = t.start > 0 ? pai_now() - t.start : 0;
	*out = t.result;
	pai_session_free(t.session);
	pai_arena_free(t.arena);
	return status;
}

typedef struct evaluation {
	pai_arena *arena;
	pai_objective objective;
	pai_runner *runner;
	pai_batcher data;
	int batch;
} evaluation;

static pai_status evaluate(pai_ctx *ctx, evaluation *e, const pai_train_options *o,
			   const pai_dataset *d, double *loss, double *accuracy)
{
	pai_plan_options options = {.backend = o->session.backend, .threads = o->session.threads};
	PAI_TRY(pai_runner_new(ctx, e->objective.model, &options, &e->runner));
	PAI_TRY(pai_batcher_new(ctx, e->arena, &e->objective, d, o->label, e->batch, &e->data));
	int n_inputs = e->data.n_inputs;
	const pai_tensor **in = PAI_NEWS(e->arena, const pai_tensor *, n_inputs + 1);
	pai_copy(in, e->data.inputs, sizeof *in * (size_t)n_inputs);
	in[n_inputs] = e->data.labels;
	int64_t *index = PAI_NEWS(e->arena, int64_t, e->batch);
	measure m = {.classes = o->session.loss->integer_labels};
	for (int64_t from = 0; from < d->n; from += e->batch) {
		int n = (int)(d->n - from < e->batch ? d->n - from : e->batch);
		for (int i = 0; i < n; i++)
			index[i] = from + i;
		pai_batch_fill(&e->data, index, n);
		const pai_tensor *outputs[2];
		PAI_TRY(pai_runner_run(e->runner, in, outputs));
		measure_batch(&m, outputs[0], e->data.labels, n, *(const float *)outputs[1]->data);
	}
	*loss = tally(&m.loss);
	*accuracy = tally(&m.accuracy);
	return PAI_OK;
}

pai_status pai_evaluate(pai_ctx *ctx, const pai_model *m, const pai_train_options *o,
			const pai_dataset *d, double *loss, double *accuracy)
{
	pai_session_options s = o->session;
	s.float_labels = s.loss->integer_labels && are_floats(pai_label_field(d, o->label));
	evaluation e = {.arena = pai_arena_new(ctx)};
	int64_t fixed = pai_fixed_batch(m);
	e.batch = fixed > 0 ? (int)fixed : o->batch > 0 ? o->batch : DEFAULT_BATCH;
	pai_status status = pai_objective_new(ctx, m, &s, false, &e.objective);
	if (status == PAI_OK)
		status = evaluate(ctx, &e, o, d, loss, accuracy);
	pai_runner_free(e.runner);
	pai_model_free(e.objective.model);
	pai_arena_free(e.arena);
	return status;
}
