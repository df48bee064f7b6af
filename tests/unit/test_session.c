/* test_session.c -- a session between steps: what a failed step leaves, what keeping and restoring
 * covers; what of a model is trained and in which form; what of a run is refused before it starts,
 * and what it says of itself. */
#include "tests/unit/train_fixture.h"

static int last_code(const fixture *f)
{
	return pai_diag_get(f->ctx, pai_diag_count(f->ctx) - 1)->code;
}

/* Parameters and running statistics. */
static const char network_with_statistics[] =
	HEAD "g (float[N, 6] x) => (float[N, 4] y)\n"
	     "<float[4, 6] w = {1,0,0,0,0,0, 0,1,0,0,0,0, 0,0,1,0,0,0, 0,0,0,1,0,0},\n"
	     " float[4] scale = {1,1,1,1}, float[4] bias = {0,0,0,0},\n"
	     " float[4] mean = {0,0,0,0}, float[4] var = {1,1,1,1}, float[4] c = {1, 4, 2, 9}> {\n"
	     "  h = Gemm <transB = 1> (x, w)\n"
	     "  n = BatchNormalization (h, scale, bias, mean, var)\n"
	     "  y = Add (n, c)\n"
	     "}\n";
static const char *const moving[] = {"w", "scale", "bias", "mean", "var", "c"};
enum { MOVING = sizeof moving / sizeof *moving };

typedef struct run { /* a session on one batch */
	pai_model *model, *stored;
	pai_session *session;
	const pai_tensor *x, *labels;
} run;

static run run_new(fixture *f, const char *text, const char *optimizer)
{
	const pai_dataset *d = samples(f, 16);
	run r = {
		.model = parse(f, text), .x = &d->fields[0].tensor, .labels = &d->fields[1].tensor};
	pai_session_options o = options(f, d, optimizer).session;
	o.optimizer = pai_optimizer_find(o.optimizer_settings->name);
	assert_int_equal(pai_session_new(f->ctx, r.model, &o, &r.session), PAI_OK);
	r.stored = pai_model_clone(r.model);
	return r;
}

static void run_free(run *r)
{
	pai_session_free(r->session);
	pai_model_free(r->stored);
	pai_model_free(r->model);
}

static pai_status step(run *r)
{
	float loss;
	return pai_session_step(r->session, &r->x, r->labels, &loss);
}

/* What is stored after n more steps. */
static pai_model *after(run *r, int n)
{
	for (int i = 0; i < n; i++)
		assert_int_equal(step(r), PAI_OK);
	pai_model *m = pai_model_clone(r->stored);
	assert_int_equal(pai_session_store(r->session, m), PAI_OK);
	return m;
}

static void assert_same(pai_model *a, pai_model *b, bool want)
{
	for (int i = 0; i < MOVING; i++)
		assert_int_equal(same(a, b, moving[i]), want);
	pai_model_free(a);
	pai_model_free(b);
}

/* The session goes on from what was kept as it did before: the states of the optimiser are part of
 * it. Where nothing was kept, from the start. */
static void restores_all_that_steps_change(void **state)
{
	static const char *const optimizers[] = {"sgd{lr=0.1,momentum=0.9}", "adam{lr=0.01}"};
	for (int i = 0; i < 2; i++) {
		run r = run_new(*state, network_with_statistics, optimizers[i]);
		pai_model *first = after(&r, 3);
		pai_session_restore(r.session);
		assert_same(first, after(&r, 3), true);
		assert_int_equal(pai_session_keep(r.session), PAI_OK);
		pai_model *more = after(&r, 2);
		pai_session_restore(r.session);
		assert_same(pai_model_clone(more), after(&r, 2), true);
		pai_session_restore(r.session);
		assert_same(more, after(&r, 1), false);
		run_free(&r);
	}
}

/* A step that failed when parameters had moved leaves a session that refuses all but restore. */
static void refuses_what_is_halfway(void **state)
{
	fixture *f = *state;
	run r = run_new(f, network_with_statistics, "sgd{lr=0.1,momentum=0.9}");
	pai_model *good = after(&r, 1);
	assert_int_equal(pai_session_keep(r.session), PAI_OK);
	pai_model *next = after(&r, 1);
	pai_session_restore(r.session);
	pai_session_set_lr(r.session, INFINITY);
	assert_int_equal(step(&r), PAI_NUMERIC);
	assert_int_equal(last_code(f), PAI_E_not_finite);
	const pai_tensor *output;
	float loss;
	assert_int_equal(step(&r), PAI_USAGE);
	assert_int_equal(last_code(f), PAI_E_halfway);
	assert_int_equal(pai_session_evaluate(r.session, &r.x, r.labels, &output, &loss),
			 PAI_USAGE);
	assert_int_equal(pai_session_keep(r.session), PAI_USAGE);
	assert_int_equal(pai_session_store(r.session, r.stored), PAI_USAGE);
	pai_session_restore(r.session);
	pai_session_set_lr(r.session, 0.1f);
	assert_same(good, after(&r, 0), true);
	assert_same(next, after(&r, 1), true);
	run_free(&r);
}

/* A loss that is not finite ends the step before anything moves. */
static void stays_whole_before_anything_moves(void **state)
{
	fixture *f = *state;
	run r = run_new(f, network_with_statistics, "adam{lr=0.01}");
	pai_model *before = after(&r, 1);
	const pai_tensor *good = r.x;
	pai_tensor bad = *good;
	bad.data = pai_arena_dup(f->arena, good->data, good->nbytes);
	((float *)bad.data)[3] = (float)NAN;
	r.x = &bad;
	assert_int_equal(step(&r), PAI_NUMERIC);
	assert_same(pai_model_clone(before), after(&r, 0), true);
	r.x = good;
	pai_model *next = after(&r, 1);
	run again = run_new(f, network_with_statistics, "adam{lr=0.01}");
	assert_same(next, after(&again, 2), true);
	pai_model_free(before);
	run_free(&again);
	run_free(&r);
}

/* As exporters write it for training. With frozen statistics it trains on those it is measured
 * with. */
static void frozen_statistics_count_both_times(void **state)
{
	static const char text[] =
		HEAD "g (float[N, 6] x) => (float[N, 4] y)\n"
		     "<float[4, 6] w = {1,0,0,0,0,0, 0,1,0,0,0,0, 0,0,1,0,0,0, 0,0,0,1,0,0},\n"
		     " float[4] scale = {1,1,1,1}, float[4] bias = {0,0,0,0},\n"
		     " float[4] mean = {1,2,3,4}, float[4] var = {4,3,2,1}> {\n"
		     "  h = Gemm <transB = 1> (x, w)\n"
		     "  y, m, v = BatchNormalization <training_mode = 1> (h, scale, bias, mean, "
		     "var)\n}\n";
	fixture *f = *state;
	static const char *const freeze[] = {"mean", "var", NULL, NULL};
	for (int i = 0; i < 4; i++) {
		const pai_dataset *d = samples(f, 16);
		pai_train_options o = options(f, d, "sgd{lr=0}");
		o.session.freeze = freeze[i];
		o.session.trainable = i == 2 ? "w" : NULL;
		o.val = d;
		o.epochs = 1;
		pai_train_result r;
		pai_model *m = parse(f, text);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		assert_int_equal(fabs(r.loss - r.val_loss) < 1e-6, i < 3);
		pai_model_free(m);
	}
}

static const char constants[] =
	HEAD "g (float[N, 6] x) => (float[N, 4] y) %s {\n"
	     "  w = Constant <value = float[4, 6] {1,0,0,0,0,0, 0,1,0,0,0,0, 0,0,1,0,0,0, "
	     "0,0,0,1,0,0}> ()\n"
	     "  half = Constant <value = float {0.5}> ()\n"
	     "  h = Gemm <transB = 1> (x, w)\n  k = Mul (h, half)\n  y = Add (k, b)\n}\n";

/* Weights that stand in Constant nodes are parameters where there are no others, or by name. */
static void trains_constants(void **state)
{
	static const struct {
		const char *inits, *b, *trainable;
		bool moves;
	} cases[] = {
		{"", "  b = Constant <value = float[4] {1, 2, 3, 4}> ()\n", NULL, true},
		{"<float[4] b = {1, 2, 3, 4}>", "", NULL, false},
		{"<float[4] b = {1, 2, 3, 4}>", "", "w", true},
	};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *text = pai_arena_printf(f->arena, constants, cases[i].inits);
		const char *brace = strchr(text, '\n');
		brace = strchr(brace + 1, '\n') + 1; /* behind the head of the graph */
		text = pai_arena_printf(f->arena, "%.*s%s%s", (int)(brace - text), text, cases[i].b,
					brace);
		pai_train_options o = options(f, samples(f, 32), "sgd{lr=0.1}");
		o.session.trainable = cases[i].trainable;
		pai_train_result r;
		pai_model *m = parse(f, text);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		assert_int_equal(pai_verify(m), PAI_OK);
		const pai_value *w = pai_graph_value(m->graph, "w");
		assert_int_equal(w->init != NULL, cases[i].moves);
		if (w->init)
			assert_true(pai_tensor_get(w->init, 0) != 1);
		assert_non_null(pai_graph_value(m->graph, "half")->producer);
		pai_model_free(m);
	}
}

/* n samples whose label is a row of four floats, all alike. */
static pai_dataset *soft_samples(fixture *f, int n, const double *row)
{
	pai_dataset *d = samples(f, n);
	pai_tensor *p = pai_tensor_new(f->arena, PAI_FLOAT, 2, (int64_t[]){n, 4});
	for (int i = 0; i < 4 * n; i++)
		pai_tensor_set(p, i, row[i % 4]);
	d->fields[1].tensor = *p;
	return d;
}

/* Labels that cannot be what they are taken for name their sample. */
static void refuses_bad_labels(void **state)
{
	static const double good[4] = {0.1, 0.2, 0.3, 0.4};
	static const struct {
		const char *loss;
		double row[4];    /* of sample 5 */
		const char *says; /* NULL: fine */
	} cases[] = {
		{"cross-entropy", {0.1, 0.2, 0.3, 0.4}, NULL},
		{"cross-entropy", {0.1, 0.2, 0.3, 0.4005}, NULL}, /* rounded to half */
		{"cross-entropy", {-0.1, 0.4, 0.3, 0.4}, "sample 5 gives class 0"},
		{"cross-entropy", {0.1, 0.2, 0.3, 0.3}, "sample 5 sum to 0.9"},
		{"cross-entropy", {0.1, 0.2, 0.3, 3}, "sample 5 sum to 3.6"},
		{"cross-entropy", {NAN, 0.2, 0.3, 0.4}, "sample 5"},
		{"mse", {-7, 0.2, 0.3, 40}, NULL},
		{"mse", {1, NAN, 1, 1}, "sample 5 has the target nan"},
		{"mse", {1, INFINITY, 1, 1}, "sample 5 has the target inf"},
	};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pai_dataset *d = soft_samples(f, 8, good);
		for (int k = 0; k < 4; k++)
			pai_tensor_set(&d->fields[1].tensor, 20 + k, cases[i].row[k]);
		pai_train_options o = options(f, d, "sgd{lr=1e-6}");
		o.session.loss = pai_loss_find(cases[i].loss);
		pai_train_result r;
		pai_model *m = parse(f, network);
		assert_int_equal(pai_train(f->ctx, m, &o, &r),
				 cases[i].says ? PAI_INVALID : PAI_OK);
		if (cases[i].says) {
			assert_int_equal(last_code(f), PAI_E_bad_labels);
			assert_non_null(strstr(pai_diag_get(f->ctx, 0)->text, cases[i].says));
		}
		pai_diag_clear(f->ctx);
		pai_model_free(m);
	}
}

/* A schedule that does nothing within the run is warned of, and only such a one. */
static void warns_of_late_schedules(void **state)
{
	static const struct {
		const char *schedule;
		const char *says; /* NULL: nothing */
	} cases[] = {
		{"constant", NULL},
		{"constant{warmup=5}", NULL},
		{"constant{warmup=6}", "takes 6 steps, the run has 6"},
		{"cosine{warmup=100}", "reaches 0.00594059 of 0.1"},
		{"cosine{warmup=2}", NULL},
		{"step{every=2}", NULL},
		{"step{every=3}", "stays at 0.1"},
		{"linear{end=0.5}", NULL},
	};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pai_train_options o = options(f, samples(f, 32), "sgd{lr=0.1}"); /* 2 steps of 16 */
		o.schedule_settings = item(f, cases[i].schedule);
		o.schedule = pai_schedule_find(o.schedule_settings->name);
		pai_train_result r;
		pai_model *m = parse(f, network);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		assert_int_equal(pai_diag_count(f->ctx), cases[i].says != NULL);
		if (cases[i].says) {
			assert_int_equal(last_code(f), PAI_E_late_schedule);
			assert_non_null(strstr(pai_diag_get(f->ctx, 0)->text, cases[i].says));
		}
		pai_diag_clear(f->ctx);
		pai_model_free(m);
	}
}

static void refuses_metrics_that_do_not_apply(void **state)
{
	static const double row[4] = {0.1, 0.2, 0.3, 0.4};
	static const struct {
		const char *loss, *metric;
		bool soft, fine;
	} cases[] = {
		{"cross-entropy", "accuracy", false, true},
		{"cross-entropy", "loss", false, true},
		{"cross-entropy", "mse", false, false},
		{"cross-entropy", "accuracy", true, true},
		{"cross-entropy", "mse", true, false},
		{"mse", "mse", true, true},
		{"mse", "accuracy", true, false},
		{"mse", "loss", true, true},
	};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const pai_metric *metric = pai_metric_find(cases[i].metric);
		pai_train_options o = options(
			f, cases[i].soft ? soft_samples(f, 8, row) : samples(f, 8), "sgd{lr=0.01}");
		o.session.loss = pai_loss_find(cases[i].loss);
		o.val = o.data;
		o.metrics = &metric;
		o.n_metrics = 1;
		o.run_dir = pai_arena_printf(f->arena, "%s/run%zu", f->dir, i);
		pai_train_result r;
		pai_model *m = parse(f, network);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), cases[i].fine ? PAI_OK : PAI_USAGE);
		assert_int_equal(access(o.run_dir, F_OK) == 0, cases[i].fine);
		if (cases[i].fine) {
			assert_ptr_equal(r.metric, metric);
			assert_true(isfinite(r.best));
		}
		pai_model_free(m);
	}
}

/* What the loss ignores is no prediction that is wrong. */
static void measures_what_counts(void **state)
{
	static const int ignored[] = {-1, 3};
	fixture *f = *state;
	for (int i = 0; i < 2; i++) {
		pai_dataset *d = samples(f, 40);
		pai_tensor *label = &d->fields[1].tensor;
		pai_train_options o = options(f, d, "sgd{lr=0}");
		o.session.loss_settings =
			item(f, pai_arena_printf(f->arena, "cross-entropy{ignore_index=%d}",
						 ignored[i]));
		pai_model *m = parse(f, network);
		assert_int_equal(pai_model_initialize(m), PAI_OK);
		double loss, accuracy, right = 0, counts = 0;
		for (int k = 0; k < 40; k++) { /* one at a time: 0, 1, or nothing that counts */
			for (int j = 0; j < 40; j++)
				pai_tensor_set(label, j, j == k ? j % 3 : ignored[i]);
			assert_int_equal(pai_evaluate(f->ctx, m, &o, d, &loss, &accuracy), PAI_OK);
			assert_true(accuracy == 0 || accuracy == 1);
			right += accuracy;
			counts++;
		}
		for (int j = 0; j < 40; j++)
			pai_tensor_set(label, j, j % 3);
		assert_int_equal(pai_evaluate(f->ctx, m, &o, d, &loss, &accuracy), PAI_OK);
		assert_true(fabs(accuracy - right / counts) < 1e-12);
		pai_model_free(m);
	}
}

/* The loss of a data set is that of what counts in it, however it is divided into batches, some of
 * which hold nothing that counts. */
static void losses_are_those_of_what_counts(void **state)
{
	static const char *const losses[] = {
		"cross-entropy{ignore_index=-1}", "cross-entropy{class_weights=\"1,0.5,7,0\"}",
		"cross-entropy{class_weights=\"1,0.5,7,2\",ignore_index=2,label_smoothing=0.1}"};
	static const int batches[] = {40, 16, 4, 1};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
		pai_dataset *d = samples(f, 40);
		pai_tensor *label = &d->fields[1].tensor;
		for (int k = 0; k < 40; k++)
			pai_tensor_set(label, k, k >= 4 ? k % 4 : i == 0 ? -1 : i == 1 ? 3 : 2);
		double first = 0;
		for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
			pai_train_options o = options(f, d, "sgd{lr=0}");
			o.session.loss_settings = item(f, losses[i]);
			o.val = d;
			o.batch = batches[b];
			o.shuffle = false;
			o.epochs = 1;
			pai_train_result r;
			double loss, accuracy;
			pai_model *m = parse(f, network);
			assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
			assert_true(isfinite(r.loss));
			if (pai_diag_count(f->ctx))
				fail_msg("%s", pai_diag_get(f->ctx, 0)->text);
			first = b ? first : r.val_loss;
			if (!(fabs(r.val_loss - first) < 1e-6))
				fail_msg("%s, batches of %d: %g, expected %g", losses[i], o.batch,
					 r.val_loss, first);
			assert_int_equal(pai_evaluate(f->ctx, m, &o, d, &loss, &accuracy), PAI_OK);
			assert_true(fabs(loss - first) < 1e-6);
			pai_model_free(m);
		}
	}
}

/* Where nothing counts, nothing moves, by momentum or decay either, and there is no loss. */
static void passes_over_what_is_ignored(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 40);
	pai_train_options o = options(f, d, "sgd{lr=0.1,momentum=0.9,weight_decay=0.1}");
	o.session.loss_settings = item(f, "cross-entropy{ignore_index=9}");
	o.shuffle = false;
	o.epochs = 1;
	pai_model *m[2];
	pai_train_result r[2];
	for (int i = 0; i < 2; i++) { /* the last 24 count not; then they are not there */
		for (int k = 16; k < 40; k++)
			pai_tensor_set(&d->fields[1].tensor, k, 9);
		m[i] = parse(f, network);
		o.steps = i ? 1 : 0;
		assert_int_equal(pai_train(f->ctx, m[i], &o, &r[i]), PAI_OK);
	}
	assert_int_equal(r[0].steps, 3);
	assert_true(r[0].loss == r[1].loss && isfinite(r[0].loss));
	assert_true(same(m[0], m[1], "w1") && same(m[0], m[1], "w2"));
	pai_model_free(m[0]);
	pai_model_free(m[1]);
}

/* A loss that explodes and stays a number: told once, and the run goes on. */
static void tells_of_divergence(void **state)
{
	fixture *f = *state;
	const pai_dataset *d = samples(f, 64);
	for (int i = 0; i < 2; i++) {
		pai_train_options o = options(f, d, i ? "sgd{lr=1e8}" : "sgd{lr=0.1}");
		pai_train_result r;
		pai_model *m = parse(f, network);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		assert_int_equal(pai_diag_count(f->ctx), i);
		pai_model_free(m);
	}
	assert_int_equal(last_code(f), PAI_E_diverges);
	assert_int_equal(pai_diag_get(f->ctx, 0)->severity, PAI_WARNING);
}

/* Samples x[n, 3] and floats [n, width] that are 1. */
static pai_dataset *ones(fixture *f, int n, int width)
{
	pai_dataset *d = PAI_NEW(f->arena, pai_dataset);
	*d = (pai_dataset){.arena = f->arena, .path = "ones", .n = n};
	for (int k = 0; k < 2; k++) {
		pai_tensor *t =
			pai_tensor_new(f->arena, PAI_FLOAT, 2, (int64_t[]){n, k ? width : 3});
		for (int64_t i = 0; i < pai_tensor_nelem(t); i++)
			pai_tensor_set(t, i, 1);
		pai_dataset_add(d, k ? "label" : "x", t);
	}
	return d;
}

/* Labels are held against the output that is computed, where the model does not state its shape. */
static void labels_have_the_shape_of_the_output(void **state)
{
	static const char *const models[] = {
		HEAD "g (float[N, M] x) => (float[N, M] y) <float[1] w = {2}> {\n"
		     "  y = Mul (x, w)\n}\n",
		/* a shape that is found when it runs */
		HEAD
		"g (float[N, M] x) => (float[A, B] y) <float[3] w = {1, 2, 3}, float zero = {0}, "
		"int64[2] s = {-1, 3}> {\n"
		"  h = Mul (x, w)\n  o = Mul (x, zero)\n  r = ReduceMax <keepdims = 0> (o)\n"
		"  i = Cast <to = 7> (r)\n  t = Add (s, i)\n  y = Reshape (h, t)\n}\n",
	};
	static const struct {
		const char *loss;
		int width, val_width; /* of the labels; 0: no validation */
	} cases[] = {{"mse", 3, 0},           {"mse", 3, 3},           {"mse", 1, 0},
		     {"mse", 3, 1},           {"mse", 1, 3},           {"mse", 2, 0},
		     {"cross-entropy", 1, 0}, {"cross-entropy", 1, 1}, {"mse", 2, 3}};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases * 2; i++) {
		const char *text = models[i % 2];
		const int width = cases[i / 2].width, val = cases[i / 2].val_width;
		const bool good = width == 3 && (val == 3 || !val);
		const pai_metric *metric =
			pai_metric_find(strcmp(cases[i / 2].loss, "mse") ? "accuracy" : "mse");
		pai_train_options o = options(f, ones(f, 40, width), "sgd{lr=0.1}");
		o.session.loss = pai_loss_find(cases[i / 2].loss);
		o.val = val ? ones(f, 8, val) : NULL;
		o.metrics = &metric;
		o.n_metrics = val ? 1 : 0;
		pai_model *m = parse(f, text), *start = parse(f, text);
		pai_train_result r;
		assert_int_equal(pai_train(f->ctx, m, &o, &r), good ? PAI_OK : PAI_INVALID);
		double loss, accuracy;
		assert_int_equal(pai_evaluate(f->ctx, m, &o, o.data, &loss, &accuracy),
				 width == 3 ? PAI_OK : PAI_INVALID);
		if (!good) { /* of width 2, the loss itself makes nothing */
			const pai_diag *d = pai_diag_get(f->ctx, 0);
			assert_true(d->code == PAI_E_label_mismatch || width == 2);
			assert_true(width == 2 || strstr(d->text, ",3]"));
			assert_non_null(strstr(d->text, width == 2 ? ",2]" : ",1]"));
			assert_int_equal(r.steps, 0);
			assert_true(same(m, start, "w"));
		}
		pai_diag_clear(f->ctx);
		pai_model_free(m);
		pai_model_free(start);
	}
}

static bool stops_at_3(void *payload)
{
	return ++*(int *)payload == 3;
}

/* A run that is stopped has the weights of its last step. */
static void stops_when_asked(void **state)
{
	fixture *f = *state;
	const pai_dataset *d = samples(f, 32);
	pai_train_options o = options(f, d, "sgd{lr=0.1}");
	pai_train_result r;
	pai_model *stopped = parse(f, network), *whole = parse(f, network);
	int steps = 0;
	o.stop = stops_at_3;
	o.payload = &steps;
	o.log_steps = pai_arena_printf(f->arena, "%s/log.csv", f->dir);
	assert_int_equal(pai_train(f->ctx, stopped, &o, &r), PAI_OK);
	assert_true(r.stopped);
	assert_int_equal(r.steps, 3);
	assert_int_equal(r.epochs, 1);
	assert_int_equal(access(o.log_steps, F_OK), -1);
	o.stop = NULL;
	o.steps = 3;
	assert_int_equal(pai_train(f->ctx, whole, &o, &r), PAI_OK);
	assert_false(r.stopped);
	assert_int_equal(access(o.log_steps, F_OK), 0);
	assert_true(same(stopped, whole, "w1") && same(stopped, whole, "w2"));
	pai_model_free(stopped);
	pai_model_free(whole);
}

/* Columns for what else is measured; a configuration that leaves nothing open. */
static void says_what_it_does(void **state)
{
	static const double row[4] = {0.1, 0.2, 0.3, 0.4};
	static const char *const said[] = {
		"\"adam{lr=0.01,beta1=0.9,beta2=0.999,eps=1e-8,weight_decay=0}\"",
		"\"cosine{warmup=0,end=0.5}\"",
		"[\"loss\", \"mse\"]",
		"\"epochs\":\t2",
		"\"steps\":\t2",
		"\"batch_size\":\t32",
		"\"threads\":\t1",
		"\"seed\":\t\"0\"",
		"\"kernels\":\t\"own:"};
	fixture *f = *state;
	const pai_metric *metrics[] = {pai_metric_find("mse"), pai_metric_find("loss")};
	pai_train_options o = options(f, soft_samples(f, 20, row), "adam{lr=0.01}");
	o.session.optimizer = pai_optimizer_find("adam");
	o.session.loss = pai_loss_find("mse");
	o.schedule = pai_schedule_find("cosine");
	o.schedule_settings = item(f, "cosine{end=0.5}");
	o.val = o.data;
	o.metrics = metrics;
	o.n_metrics = 2;
	o.batch = 0;
	o.epochs = 0;
	o.steps = 2;
	o.run_dir = pai_arena_printf(f->arena, "%s/run", f->dir);
	pai_train_result r;
	pai_model *m = parse(f, network);
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
	assert_int_equal(r.scores.n, 3);
	assert_true(fabs(r.scores.value[2] - r.val_loss) < 1e-6);
	const char *csv = read_file(f, "run/epochs.csv");
	assert_non_null(strstr(csv, "lr,seconds,val_mse\n"));
	assert_true(fabs(strtod(strrchr(csv, ',') + 1, NULL) - r.scores.value[2]) < 1e-8);
	assert_non_null(strstr(read_file(f, "run/events.jsonl"), "\"val_mse\":"));
	const char *config = read_file(f, "run/config.json");
	for (size_t i = 0; i < sizeof said / sizeof *said; i++)
		if (!strstr(config, said[i]))
			fail_msg("no %s in %s", said[i], config);
	const char *version = pai_onednn_version(f->ctx, f->arena);
	assert_non_null(version);
	assert_non_null(strstr(config, pai_arena_printf(f->arena, "\"onednn\":\t\"%s\"", version)));
	pai_model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(restores_all_that_steps_change, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_is_halfway, setup, teardown),
		cmocka_unit_test_setup_teardown(stays_whole_before_anything_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(frozen_statistics_count_both_times, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trains_constants, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_bad_labels, setup, teardown),
		cmocka_unit_test_setup_teardown(warns_of_late_schedules, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_metrics_that_do_not_apply, setup, teardown),
		cmocka_unit_test_setup_teardown(measures_what_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(losses_are_those_of_what_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(passes_over_what_is_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(labels_have_the_shape_of_the_output, setup,
						teardown),
		cmocka_unit_test_setup_teardown(tells_of_divergence, setup, teardown),
		cmocka_unit_test_setup_teardown(stops_when_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(says_what_it_does, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
