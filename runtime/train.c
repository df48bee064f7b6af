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
	double start, epoch_start, loss_sum, loss_weight, first_loss;
	pai_label_weights weights;
	pai_scheduling schedule;
	double lr;         /* before the schedule */
	pai_scores scores; /* what is measured, and the values of the last time */
	int chooser;       /* which of them chooses the best model */
	bool warned;       /* of a validation that gave no number */
	bool diverges;     /* was told so */
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
		p.scores = t->o.val ? &t->scores : NULL;
	}
	t->o.progress(t->o.payload, &p);
}

/* NaN in the data is the likely cause of NaN in the loss; say where it is. */
static void blame_data(const trainer *t, const pai_batcher *b, const pai_dataset *d,
		       const int64_t *samples, int n)
{
	pai_value *const *inputs;
	int sample, input;
	if (!pai_batch_not_finite(b, n, &sample, &input))
		return;
	pai_model_inputs(pai_session_objective(t->session)->model, &inputs);
	pai_note(t->ctx, pai_at_file(d->path),
		 "sample %lld has NaN or infinity in what goes to \"%s\"",
		 (long long)samples[sample], inputs[input]->name);
}

static pai_label_weights weights_of(pai_arena *a, const pai_session_options *s)
{
	const pai_item defaults = {.name = s->loss->name};
	if (!s->loss->weigh)
		return (pai_label_weights){0};
	return s->loss->weigh(a, s->loss_settings ? s->loss_settings : &defaults);
}

/* What the loss of a batch counts beside those of others, so that the mean over batches is that
 * over all that counts, however it is divided into batches. */
static double batch_weight(const pai_label_weights *w, const pai_tensor *labels)
{
	if (!w->mean || !(w->ignores || w->classes) || labels->dtype != PAI_INT64)
		return (double)labels->dims[0];
	double sum = 0;
	const int64_t n = pai_tensor_nelem(labels);
	for (int64_t i = 0; i < n; i++) {
		const int64_t c = pai_tensor_get_int(labels, i);
		if (!w->ignores || c != w->ignored)
			sum += !w->classes ? 1 : c >= 0 && c < w->n ? w->classes[c] : 0;
	}
	return sum;
}

/* A batch of which nothing counts moves nothing, not by momentum or decay either; it takes its
 * place in the schedule. */
static pai_status train_batch(trainer *t, int epoch, int64_t from, int n)
{
	float loss = 0;
	double began = pai_now();
	pai_session_set_lr(t->session,
			   (float)(t->lr * pai_scheduling_factor(&t->schedule, t->steps)));
	pai_batch_fill(&t->data, t->order + from, n);
	const double weight = batch_weight(&t->weights, t->data.labels);
	pai_status status = PAI_OK;
	if (weight > 0)
		status = pai_session_step(t->session, (const pai_tensor *const *)t->data.inputs,
					  t->data.labels, &loss);
	if (status == PAI_NUMERIC)
		blame_data(t, &t->data, t->o.data, t->order + from, n);
	PAI_TRY(status);
	if (t->loss_weight == 0 && epoch == 1)
		t->first_loss = (double)loss;
	t->steps++;
	t->loss_sum += (double)loss * weight;
	t->loss_weight += weight;
	pai_run_folder_step(&t->folder, t->steps, epoch, loss, (double)pai_session_lr(t->session),
			    pai_now() - began);
	report(t, epoch, loss, NULL);
	t->result.stopped = t->o.stop && t->o.stop(t->o.payload);
	return PAI_OK;
}

static void add_score(pai_scores *s, const pai_metric *metric)
{
	for (int i = 0; i < s->n; i++)
		if (s->metric[i] == metric)
			return;
	s->metric[s->n] = metric;
	s->value[s->n++] = (double)NAN;
}

/* What is measured: loss and accuracy, then what else is asked for. */
static pai_scores scores_new(const pai_train_options *o)
{
	pai_scores s = {0};
	add_score(&s, pai_metric_find("loss"));
	add_score(&s, pai_metric_find("accuracy"));
	for (int i = 0; i < o->n_metrics; i++)
		add_score(&s, o->metrics[i]);
	return s;
}

typedef struct measure { /* over a data set, by the metrics of the scores */
	pai_scores *scores;
	const pai_loss *loss;
	pai_label_weights weights;
	pai_tally tallies[sizeof((pai_scores *)0)->metric / sizeof(pai_metric *)];
} measure;

static measure measure_new(pai_scores *scores, const pai_loss *loss, const pai_label_weights *w)
{
	measure m = {.scores = scores, .loss = loss, .weights = *w};
	for (int i = 0; i < scores->n; i++) {
		m.tallies[i].ignores = w->ignores;
		m.tallies[i].ignored = w->ignored;
	}
	return m;
}

/* Whether the loss of the batch counts. */
static bool measure_batch(measure *m, const pai_tensor *output, const pai_tensor *labels,
			  float loss)
{
	const double weight = batch_weight(&m->weights, labels);
	m->tallies[PAI_SCORE_LOSS].sum += weight > 0 ? (double)loss * weight : 0;
	m->tallies[PAI_SCORE_LOSS].count += weight;
	for (int i = PAI_SCORE_ACCURACY; i < m->scores->n; i++)
		if (pai_metric_applies(m->scores->metric[i], m->loss))
			m->scores->metric[i]->add(&m->tallies[i], output, labels, (double)loss);
	return weight > 0;
}

static void measure_end(measure *m)
{
	for (int i = 0; i < m->scores->n; i++) {
		const pai_tally *t = &m->tallies[i];
		m->scores->value[i] = t->count > 0 ? t->sum / t->count : (double)NAN;
	}
}

static pai_status validate(trainer *t, pai_epoch_row *row)
{
	measure m = measure_new(&t->scores, t->o.session.loss, &t->weights);
	for (int64_t from = 0; from < t->val.n; from += t->batch) {
		int n = (int)(t->val.n - from < t->batch ? t->val.n - from : t->batch);
		pai_batch_fill(&t->val, t->val_order + from, n);
		const pai_tensor *output;
		float loss;
		PAI_TRY(pai_session_evaluate(t->session, (const pai_tensor *const *)t->val.inputs,
					     t->val.labels, &output, &loss));
		const bool counts = measure_batch(&m, output, t->val.labels, loss);
		if (counts && !isfinite(loss) && !t->warned) {
			pai_warn(t->ctx, PAI_E_not_finite, pai_at_file(t->o.val->path),
				 "the loss of its samples is %g after epoch %d", (double)loss,
				 row->epoch);
			blame_data(t, &t->val, t->o.val, t->val_order + from, n);
			t->warned = true;
		}
	}
	measure_end(&m);
	row->val_loss = t->scores.value[PAI_SCORE_LOSS];
	row->val_accuracy = t->scores.value[PAI_SCORE_ACCURACY];
	row->scores = t->scores;
	return PAI_OK;
}

/* What chooses the best model: the first metric asked for, else the accuracy where it applies, else
 * the loss; without validation the loss of training. */
static void choose_metric(trainer *t)
{
	const pai_metric *accuracy = t->scores.metric[PAI_SCORE_ACCURACY];
	t->chooser = PAI_SCORE_LOSS;
	if (t->o.val && pai_metric_applies(accuracy, t->o.session.loss))
		t->chooser = PAI_SCORE_ACCURACY;
	for (int i = 0; t->o.val && t->o.n_metrics && i < t->scores.n; i++)
		if (t->scores.metric[i] == t->o.metrics[0])
			t->chooser = i;
	t->result.metric = t->scores.metric[t->chooser];
}

static bool improves(const trainer *t, double score)
{
	if (isnan(score) || isnan(t->result.best))
		return !isnan(score);
	return t->result.metric->higher_is_better ? score > t->result.best : score < t->result.best;
}

/* A loss may grow beyond all use long before it is no number any more. */
static void check_growth(trainer *t, const pai_epoch_row *row)
{
	const double much = 1e6;
	if (t->diverges || !(t->first_loss > 0) || !(row->train_loss > much * t->first_loss))
		return;
	pai_warn(t->ctx, PAI_E_diverges, pai_at_file(t->model->path),
		 "the loss of epoch %d is %g, that of the first step was %g; lower the learning "
		 "rate",
		 row->epoch, row->train_loss, t->first_loss);
	t->diverges = true;
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
		.train_loss = t->loss_weight > 0 ? t->loss_sum / t->loss_weight : (double)NAN,
		.train_seconds = pai_now() - t->epoch_start,
		.lr = (double)pai_session_lr(t->session),
		.val_loss = (double)NAN,
		.val_accuracy = (double)NAN,
	};
	check_growth(t, &row);
	if (t->o.val)
		PAI_TRY(validate(t, &row));
	PAI_TRY(pai_session_keep(t->session));
	PAI_TRY(pai_run_folder_epoch(&t->folder, &row));
	double score = t->o.val ? t->scores.value[t->chooser] : row.train_loss;
	if (improves(t, score)) {
		t->result.best = score;
		t->result.best_accuracy = row.val_accuracy;
		PAI_TRY(pai_run_folder_best(&t->folder, t->model, t->session, &row));
	}
	t->result.epochs = epoch;
	t->result.loss = row.train_loss;
	t->result.val_loss = row.val_loss;
	t->result.val_accuracy = row.val_accuracy;
	t->result.scores = row.scores;
	report(t, epoch, 0, &row);
	return PAI_OK;
}

static pai_status run_epoch(trainer *t, int epoch)
{
	t->epoch_start = pai_now();
	t->loss_sum = 0;
	t->loss_weight = 0;
	if (t->o.shuffle)
		shuffle(t, epoch);
	for (int64_t from = 0; from < t->data.n && t->steps < t->steps_in_all; from += t->batch) {
		int64_t left = t->data.n - from;
		if (left < t->batch && t->o.drop_last)
			break;
		PAI_TRY(train_batch(t, epoch, from, (int)(left < t->batch ? left : t->batch)));
		if (t->result.stopped)
			return PAI_OK;
	}
	return end_epoch(t, epoch);
}

/* A model that fixes its batch takes no smaller one, be it to learn from or to measure. */
static pai_status fits(const trainer *t, const pai_dataset *d, int64_t fixed, bool drop_last)
{
	if (fixed <= 0 || (t->batch == fixed && (d->n % fixed == 0 || drop_last)))
		return PAI_OK;
	return pai_fail(
		t->ctx, PAI_E_samples, pai_at_file(d->path),
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

/* The names of the metrics that apply to a loss. */
static const char *applicable(const trainer *t)
{
	const char *names = "";
	for (int i = 0; pai_metric_get(i); i++)
		if (pai_metric_applies(pai_metric_get(i), t->o.session.loss))
			names = pai_arena_printf(t->arena, "%s%s%s", names, *names ? ", " : "",
						 pai_metric_get(i)->name);
	return names;
}

/* A metric that measures nothing would choose no best model. */
static pai_status check_metrics(const trainer *t)
{
	enum { ROOM = sizeof t->scores.metric / sizeof *t->scores.metric - PAI_SCORE_FURTHER };
	if (t->o.n_metrics > ROOM)
		return pai_fail(t->ctx, PAI_E_bad_value, pai_at_nothing(),
				"%d metrics, allowed are %d", t->o.n_metrics, ROOM);
	for (int i = 0; i < t->o.n_metrics; i++)
		if (!pai_metric_applies(t->o.metrics[i], t->o.session.loss))
			return pai_fail(t->ctx, PAI_E_bad_value, pai_at_nothing(),
					"metric \"%s\" does not apply to the labels of loss "
					"\"%s\"; what does: %s",
					t->o.metrics[i]->name, t->o.session.loss->name,
					applicable(t));
	return PAI_OK;
}

/* A schedule of which the run is over too soon to see anything. */
static void check_schedule(const trainer *t)
{
	const pai_scheduling *s = &t->schedule;
	const double last = pai_scheduling_factor(s, s->steps - 1);
	if (s->warmup >= s->steps)
		pai_warn(t->ctx, PAI_E_late_schedule, pai_at_nothing(),
			 "schedule \"%s\": the warm-up takes %llu steps, the run has %llu; the "
			 "learning rate reaches %g of %g",
			 s->schedule->name, (unsigned long long)s->warmup,
			 (unsigned long long)s->steps, t->lr * last, t->lr);
	else if (s->schedule->options[1].name && s->steps - s->warmup > 1 &&
		 last == pai_scheduling_factor(s, s->warmup)) /* it has settings, to change it by */
		pai_warn(t->ctx, PAI_E_late_schedule, pai_at_nothing(),
			 "schedule \"%s\": the learning rate stays at %g, as the run ends after %d "
			 "epochs",
			 s->schedule->name, t->lr * last, t->epochs);
}

/* What is wrong with what is measured on must not show after an epoch only. */
static pai_status try_validation(trainer *t)
{
	const pai_tensor *output;
	float loss;
	pai_batch_fill(&t->val, t->val_order, (int)(t->val.n < t->batch ? t->val.n : t->batch));
	return pai_session_evaluate(t->session, (const pai_tensor *const *)t->val.inputs,
				    t->val.labels, &output, &loss);
}

static pai_status prepare(trainer *t)
{
	PAI_TRY(check_metrics(t));
	t->scores = scores_new(&t->o);
	t->weights = weights_of(t->arena, &t->o.session);
	choose_metric(t);
	PAI_TRY(pai_model_initialize(t->model));
	PAI_TRY(pai_lift_constants(t->model, t->o.session.trainable));
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
	check_schedule(t);
	t->order = in_order(t, t->data.n);
	t->val_order = in_order(t, t->val.n);
	if (t->o.val)
		PAI_TRY(try_validation(t));
	const pai_run_config config = {&t->o,           t->model,   t->batch,  t->epochs,
				       t->steps_in_all, &t->scores, t->chooser};
	PAI_TRY(pai_run_folder_open(t->ctx, t->arena, &config, &t->folder));
	return pai_session_keep(t->session);
}

static pai_status run_epochs(trainer *t)
{
	PAI_TRY(prepare(t));
	t->start = pai_now();
	for (int epoch = 1; epoch <= t->epochs && !t->result.stopped; epoch++)
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
	status = pai_run_folder_close(&t.folder, status, t.result.stopped);
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
	pai_scores scores = scores_new(o);
	const pai_label_weights weights = weights_of(e->arena, &o->session);
	measure m = measure_new(&scores, o->session.loss, &weights);
	for (int64_t from = 0; from < d->n; from += e->batch) {
		int n = (int)(d->n - from < e->batch ? d->n - from : e->batch);
		for (int i = 0; i < n; i++)
			index[i] = from + i;
		pai_batch_fill(&e->data, index, n);
		const pai_tensor *outputs[2];
		PAI_TRY(pai_runner_run(e->runner, in, outputs));
		PAI_TRY(pai_labels_fit(ctx, &e->objective, outputs[0], e->data.labels));
		measure_batch(&m, outputs[0], e->data.labels, *(const float *)outputs[1]->data);
	}
	measure_end(&m);
	*loss = scores.value[PAI_SCORE_LOSS];
	*accuracy = scores.value[PAI_SCORE_ACCURACY];
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
