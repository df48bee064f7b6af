/* test_train.c -- sessions and the loop: what moves, what stays, what a run leaves, and that a run
 * can be repeated to the same bits. */
#include "tests/unit/train_fixture.h"
#include <unistd.h>

static const char *const names[] = {"w1", "b1", "w2", "b2"};

static void learns(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 200);
	pai_train_options o = options(f, d, "sgd{lr=0.1,momentum=0.9}");
	pai_model *m = parse(f, network);
	pai_train_result r;
	double loss, accuracy;
	o.epochs = 30;
	o.val = d;
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
	assert_true(r.val_accuracy > 0.9);
	assert_int_equal(r.steps, 30 * 13); /* 12 batches of 16, one of 8 */
	assert_int_equal(pai_evaluate(f->ctx, m, &o, d, &loss, &accuracy), PAI_OK);
	assert_true(accuracy == r.val_accuracy);
	assert_true(fabs(loss - r.val_loss) < 1e-5);
	pai_model_free(m);
}

/* Same seed: same bits, for any number of threads of the optimiser; another seed: other bits. */
static void repeats_to_the_bit(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 50);
	pai_train_options o = options(f, d, "sgd{lr=0.1,momentum=0.9}");
	pai_model *m[3];
	pai_train_result r[3];
	for (int i = 0; i < 3; i++) {
		f->ctx->seed = i == 2;
		m[i] = parse(f, network);
		assert_int_equal(pai_train(f->ctx, m[i], &o, &r[i]), PAI_OK);
	}
	for (int k = 0; k < 4; k++) {
		assert_true(same(m[0], m[1], names[k]));
		assert_false(same(m[0], m[2], names[k]));
	}
	assert_true(r[0].loss == r[1].loss);
	for (int i = 0; i < 3; i++)
		pai_model_free(m[i]);
}

static void keeps_what_is_frozen(void **state)
{
	fixture *f = *state;
	static const struct {
		const char *freeze, *trainable;
		bool moves[4]; /* w1 b1 w2 b2 */
		int64_t parameters;
	} cases[] = {
		{NULL, NULL, {true, true, true, true}, 96 + 16 + 64 + 4},
		{"*1", NULL, {false, false, true, true}, 68},
		{NULL, "w?", {true, false, true, false}, 160},
		{"w1", "w?", {false, false, true, false}, 64},
	};
	pai_dataset *d = samples(f, 32);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		pai_train_options o = options(f, d, "sgd{lr=0.1}");
		o.session.freeze = cases[i].freeze;
		o.session.trainable = cases[i].trainable;
		o.epochs = 0;
		o.steps = 1;
		pai_model *m = parse(f, network);
		assert_int_equal(pai_model_initialize(m), PAI_OK);
		pai_model *before = pai_model_clone(m);
		pai_session *s;
		assert_int_equal(pai_session_new(f->ctx, m, &o.session, &s), PAI_OK);
		assert_int_equal(pai_session_parameters(s), cases[i].parameters);
		pai_session_free(s);
		pai_train_result r;
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		assert_int_equal(r.steps, 1);
		for (int k = 0; k < 4; k++)
			assert_int_equal(!same(m, before, names[k]), cases[i].moves[k]);
		pai_model_free(before);
		pai_model_free(m);
	}
	pai_train_options o = options(f, d, "sgd{lr=0.1}");
	pai_train_result r;
	o.session.freeze = "*";
	pai_model *m = parse(f, network);
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_INVALID);
	assert_int_equal(pai_diag_get(f->ctx, 0)->code, PAI_E_nothing_to_train);
	pai_diag_clear(f->ctx);
	o.session.freeze = "misspelt*"; /* it would move */
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_USAGE);
	assert_int_equal(pai_diag_get(f->ctx, 0)->code, PAI_E_unused_glob);
	pai_model_free(m);
}

/* A factor of the learning rate in the metadata scales the step of its tensor only. */
static void scales_learning_rates(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 16);
	pai_train_options o = options(f, d, "sgd{lr=0.5}");
	o.session.keep_gradients = true;
	pai_model *m = parse(f, network);
	assert_int_equal(pai_model_initialize(m), PAI_OK);
	const pai_tensor *labels = &d->fields[1].tensor, *x = &d->fields[0].tensor;
	pai_session *s;
	float loss;
	pai_model *after = pai_model_clone(m);
	assert_int_equal(pai_session_new(f->ctx, m, &o.session, &s), PAI_OK);
	assert_int_equal(pai_session_step(s, &x, labels, &loss), PAI_OK);
	assert_int_equal(pai_session_store(s, after), PAI_OK);
	for (int k = 0; k < 4; k++) {
		const float *g = pai_session_gradient(s, names[k]);
		const float *p = weight(m, names[k])->data, *q = weight(after, names[k])->data;
		float lr = k == 2 ? 0.25f : 0.5f; /* w2 */
		for (int64_t i = 0; i < pai_tensor_nelem(weight(m, names[k])); i++)
			assert_true(q[i] == p[i] - lr * (g[i] + 0.0f * p[i]));
	}
	pai_session_free(s);
	pai_model_free(after);
	pai_model_free(m);
}

static void makes_weights(void **state)
{
	fixture *f = *state;
	pai_model *m = parse(f, network);
	assert_int_equal(m->graph->inputs.n, 5);
	assert_int_equal(pai_model_initialize(m), PAI_OK);
	assert_int_equal(m->graph->inputs.n, 1);
	assert_null(pai_prop_get(&m->graph->props, "pai.init.w1"));
	assert_non_null(pai_prop_get(&m->graph->props, "pai.lr.w2"));
	assert_int_equal(pai_verify(m), PAI_OK);
	double square = 0, limit = sqrt(6.0 / (16 + 4));
	for (int i = 0; i < 96; i++)
		square += pow(pai_tensor_get(weight(m, "w1"), i), 2) / 96;
	assert_true(square > 0.5 * 2 / 6 && square < 1.5 * 2 / 6); /* 2 / fan_in */
	for (int i = 0; i < 64; i++)
		assert_true(fabs(pai_tensor_get(weight(m, "w2"), i)) <= limit);
	assert_true(pai_tensor_get(weight(m, "b1"), 3) == 0);
	pai_model_free(m);
	static const char *const bad[] = {"\"pai.init.w\": \"he\"", "\"pai.init.v\": \"zeros\"",
					  "\"pai.init.n\": \"zeros\""};
	for (int i = 0; i < 3; i++) {
		m = parse(f,
			  pai_arena_printf(
				  f->arena,
				  HEAD "#@ graph metadata_props: [%s]\n"
				       "g (float[2] w, float[N] n) => (float[2] y) { y = Neg(w) }",
				  bad[i]));
		assert_int_equal(pai_model_initialize(m), PAI_INVALID);
		pai_model_free(m);
	}
}

/* A loss that is not finite: NUMERIC, and the weights of the last good epoch. */
static void stops_at_nan(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 32), *bad = samples(f, 32);
	((float *)bad->fields[0].tensor.data)[100] = (float)NAN;
	pai_train_options o = options(f, bad, "sgd{lr=0.1}");
	pai_train_result r;
	pai_model *m = parse(f, network), *start = parse(f, network);
	assert_int_equal(pai_model_initialize(start), PAI_OK);
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_NUMERIC);
	for (int k = 0; k < 4; k++)
		assert_true(same(m, start, names[k])); /* no epoch was good */
	pai_model_free(m);

	o = options(f, d, "sgd{lr=1e38}"); /* diverges */
	o.run_dir = pai_arena_printf(f->arena, "%s/run", f->dir);
	o.log_steps = pai_arena_printf(f->arena, "%s/log.csv", f->dir);
	m = parse(f, network);
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_NUMERIC);
	for (int k = 0; k < 4; k++)
		for (int64_t i = 0; i < pai_tensor_nelem(weight(m, names[k])); i++)
			assert_true(isfinite(pai_tensor_get(weight(m, names[k]), i)));
	pai_model *kept;
	assert_int_equal(pai_model_read(f->ctx,
					pai_arena_printf(f->arena, "%s/run/last.onnx", f->dir),
					&kept),
			 PAI_OK);
	for (int k = 0; k < 4; k++)
		assert_true(same(kept, m, names[k]));
	assert_int_equal(access(o.log_steps, F_OK), -1);
	pai_model_free(kept);
	pai_model_free(m);
	pai_model_free(start);
}

/* A gradient that is not finite under a finite loss ends the run in its own step. */
static void stops_at_a_bad_gradient(void **state)
{
	fixture *f = *state;
	static const char *const bodies[] = {
		/* one number of a tensor that no product makes: d sqrt at 0 */
		"(float[N, 6] x) => (float[N, 4] y) <float[4, 6] w = {1,0,0,0,0,0, 0,1,0,0,0,0, "
		"0,0,1,0,0,0, 0,0,0,1,0,0}, float[4] c = {1, 4, 0, 9}> {\n"
		"  s = Sqrt (c)\n  h = Gemm <transB = 1> (x, w)\n  y = Add (h, s)\n}\n",
		"(float[N, 6] x) => (float[N, 4] y) <float[6, 4] w = {1,0,0,0, 0,1,0,0, 0,0,0,0, "
		"0,0,0,1, 0,0,0,0, 0,0,0,0}> {\n"
		"  h = MatMul (x, w)\n  q = Mul (h, h)\n  y = Sqrt (q)\n}\n",
		"(float[N, 6] x) => (float[N, 4] y) <float[4, 6] w = {1,0,0,0,0,0, 0,1,0,0,0,0, "
		"0,0,0,0,0,0, 0,0,0,1,0,0}> {\n"
		"  h = Gemm <transB = 1> (x, w)\n  q = Mul (h, h)\n  y = Sqrt (q)\n}\n",
		"(float[N, 6] x) => (float[N, 4] y) <int64[3] s = {0, 1, 6}, int64[2] t = {0, -1}, "
		"float[4, 1, 6] w = {1,0,0,0,0,0, 0,1,0,0,0,0, 0,0,0,0,0,0, 0,0,0,1,0,0}> {\n"
		"  v = Reshape (x, s)\n  h = Conv (v, w)\n  q = Mul (h, h)\n  r = Sqrt (q)\n"
		"  y = Reshape (r, t)\n}\n",
	};
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		char text[1024];
		snprintf(text, sizeof text, "%sg %s", HEAD, bodies[i]);
		pai_train_options o = options(f, samples(f, 64), "sgd{lr=0.1,momentum=0.9}");
		pai_train_result r;
		pai_model *m = parse(f, text), *start = parse(f, text);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_NUMERIC);
		assert_int_equal(r.steps, 0);
		const pai_diag *d = pai_diag_get(f->ctx, pai_diag_count(f->ctx) - 1);
		assert_int_equal(d->code, PAI_E_not_finite);
		assert_non_null(strstr(d->text, "after step 1"));
		assert_true(same(m, start, "w"));
		pai_model_free(m);
		pai_model_free(start);
		pai_diag_clear(f->ctx);
	}
}

typedef struct meter { /* of an allocator */
	size_t live, peak, total, calls;
} meter;

static void *metered_alloc(void *payload, size_t n)
{
	meter *m = payload;
	size_t *at = aligned_alloc(64, (n + 64 + 63) / 64 * 64);
	if (!at)
		return NULL;
	*at = n;
	m->live += n;
	m->peak = m->live > m->peak ? m->live : m->peak;
	m->total += n;
	m->calls++;
	return at + 8;
}

static void metered_free(void *payload, void *p)
{
	if (!p)
		return;
	size_t *at = (size_t *)p - 8;
	((meter *)payload)->live -= *at;
	free(at);
}

/* Samples of batch size n for the inputs of a session. */
static const pai_tensor **batch_of(fixture *f, int inputs, int n, pai_tensor **labels)
{
	const pai_tensor **in = PAI_NEWS(f->arena, const pai_tensor *, inputs);
	for (int i = 0; i < inputs; i++) {
		pai_tensor *x = pai_tensor_new(f->arena, PAI_FLOAT, 2, (int64_t[]){n, 6});
		for (int k = 0; k < 6 * n; k++)
			pai_tensor_set(x, k, sin(k + i));
		in[i] = x;
	}
	*labels = pai_tensor_new(f->arena, PAI_INT64, 1, (int64_t[]){n});
	for (int k = 0; k < n; k++)
		pai_tensor_set(*labels, k, k % 4);
	return in;
}

/* The network with 20 inputs, which are added. */
static const char *wide_network(fixture *f)
{
	const char *inputs = "", *names_of = "";
	for (int i = 0; i < 20; i++) {
		inputs = pai_arena_printf(f->arena, "%sfloat[N, 6] x%d, ", inputs, i);
		names_of = pai_arena_printf(f->arena, "%s%sx%d", names_of, i ? ", " : "", i);
	}
	return pai_arena_printf(f->arena,
				HEAD "#@ graph metadata_props: [\"pai.init.w\": \"he_normal\"]\n"
				     "g (%sfloat[4, 6] w) => (float[N, 4] y) {\n"
				     "  x = Sum (%s)\n  y = Gemm <transB = 1> (x, w)\n}\n",
				inputs, names_of);
}

/* However many sizes of batch a session meets, it holds a bounded number of plans; and a step of a
 * size it has met allocates nothing, however many inputs there are. */
static void memory_is_bounded(void **unused)
{
	(void)unused;
	meter m = {0};
	pai_allocator allocator = {metered_alloc, metered_free, &m};
	fixture f = {.ctx = pai_ctx_new(&allocator)};
	f.ctx->threads = 1;
	f.arena = pai_arena_new(f.ctx);
	static const int n_inputs[] = {1, 20};
	for (int c = 0; c < 2; c++) {
		pai_model *model = parse(&f, c ? wide_network(&f) : network);
		assert_int_equal(pai_model_initialize(model), PAI_OK);
		pai_session_options o = options(&f, NULL, "sgd{lr=0.01}").session;
		pai_session *s;
		assert_int_equal(pai_session_new(f.ctx, model, &o, &s), PAI_OK);
		enum { SIZES = 40, ROUNDS = 12 };
		const pai_tensor **in[SIZES + 1], *output;
		pai_tensor *labels[SIZES + 1];
		for (int n = 1; n <= SIZES; n++)
			in[n] = batch_of(&f, n_inputs[c], n, &labels[n]);
		size_t live[ROUNDS];
		float loss;
		for (int round = 0; round < ROUNDS; round++) {
			for (int n = 1; n <= SIZES; n++) {
				assert_int_equal(pai_session_step(s, in[n], labels[n], &loss),
						 PAI_OK);
				assert_int_equal(
					pai_session_evaluate(s, in[n], labels[n], &output, &loss),
					PAI_OK);
			}
			live[round] = m.live;
		}
		assert_int_equal(live[1], live[ROUNDS - 1]);
		size_t calls = 0;
		for (int i = 0; i < 2000; i++) {
			calls = i == 2 ? m.calls : calls; /* scratch has its size by then */
			assert_int_equal(pai_session_step(s, in[SIZES], labels[SIZES], &loss),
					 PAI_OK);
			assert_int_equal(
				pai_session_evaluate(s, in[SIZES], labels[SIZES], &output, &loss),
				PAI_OK);
		}
		assert_int_equal(m.calls, calls);
		pai_session_free(s);
		pai_model_free(model);
	}
	pai_arena_free(f.arena);
	pai_ctx_free(f.ctx);
	assert_int_equal(m.live, 0);
}

/* More epochs with validation take no more memory, but for what is remembered of each. */
static void epochs_allocate_little(void **unused)
{
	(void)unused;
	size_t total[2];
	enum { BATCH = 4000, EPOCHS = 8 };
	for (int k = 0; k < 2; k++) {
		meter m = {0};
		pai_allocator allocator = {metered_alloc, metered_free, &m};
		fixture f = {.ctx = pai_ctx_new(&allocator)};
		f.ctx->threads = 1;
		f.arena = pai_arena_new(f.ctx);
		pai_dataset *d = samples(&f, BATCH);
		pai_train_options o = options(&f, d, "sgd{lr=0.1}");
		o.val = d;
		o.batch = BATCH;
		o.epochs = k ? EPOCHS + 2 : 2;
		pai_model *model = parse(&f, network);
		pai_train_result r;
		assert_int_equal(pai_train(f.ctx, model, &o, &r), PAI_OK);
		total[k] = m.total;
		pai_model_free(model);
		pai_arena_free(f.arena);
		pai_ctx_free(f.ctx);
		assert_int_equal(m.live, 0);
	}
	assert_true(total[1] - total[0] < BATCH * sizeof(int64_t) * EPOCHS / 8);
}

/* The plot is drawn anew after each epoch; only the rows are remembered. */
static void plots_take_their_memory_back(void **state)
{
	enum { EPOCHS = 200 };
	fixture *f = *state;
	size_t peak[2];
	for (int k = 0; k < 2; k++) {
		meter m = {0};
		pai_allocator allocator = {metered_alloc, metered_free, &m};
		fixture own = {.ctx = pai_ctx_new(&allocator)};
		own.ctx->threads = 1;
		own.ctx->durable = false;
		own.arena = pai_arena_new(own.ctx);
		pai_train_options o = options(&own, samples(&own, 2), "sgd{lr=0}");
		o.run_dir = pai_arena_printf(own.arena, "%s/run%d", f->dir, k);
		o.epochs = k ? 2 * EPOCHS : EPOCHS;
		pai_model *model = parse(&own, network);
		pai_train_result r;
		assert_int_equal(pai_train(own.ctx, model, &o, &r), PAI_OK);
		peak[k] = m.peak;
		pai_model_free(model);
		pai_arena_free(own.arena);
		pai_ctx_free(own.ctx);
	}
	/* columns of all epochs so far would take more than 4 MB in the longer run */
	assert_true(peak[1] - peak[0] < 1 << 20);
}

static void leaves_a_run_folder(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 40);
	pai_train_options o = options(f, d, "sgd{lr=0.1}");
	o.val = d;
	o.run_dir = pai_arena_printf(f->arena, "%s/run", f->dir);
	o.log_steps = pai_arena_printf(f->arena, "%s/log.csv", f->dir);
	pai_train_result r;
	pai_model *m = parse(f, network);
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
	assert_int_equal(lines(read_file(f, "run/steps.csv")), 1 + 9);
	assert_int_equal(lines(read_file(f, "log.csv")), 1 + 9);
	assert_int_equal(lines(read_file(f, "run/epochs.csv")), 1 + 3);
	assert_true(lines(read_file(f, "run/events.jsonl")) >= 5);
	assert_non_null(strstr(read_file(f, "run/config.json"), "\"sgd{lr=0.1,momentum=0,"));
	const char *svg = read_file(f, "run/plot.svg");
	assert_non_null(strstr(svg, "</svg>"));
	assert_non_null(strstr(svg, "Accuracy"));
	pai_model *best;
	assert_int_equal(pai_model_read(f->ctx,
					pai_arena_printf(f->arena, "%s/run/best.onnx", f->dir),
					&best),
			 PAI_OK);
	pai_model_free(best);
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_IO); /* never used again */
	assert_int_equal(pai_diag_get(f->ctx, 0)->code, PAI_E_run_dir);
	pai_model_free(m);
}

/* A layer with batch statistics; its running statistics move unless they are frozen. */
static const char normalised[] = HEAD
	"g (float[N, 6] x) => (float[N, 4] y)\n"
	"<float[4, 6] w = {1,0,0,0,0,0, 0,1,0,0,0,0, 0,0,1,0,0,0, 0,0,0,1,0,0},\n"
	" float[4] scale = {1,1,1,1}, float[4] bias = {0,0,0,0},\n"
	" float[4] mean = {0,0,0,0}, float[4] var = {1,1,1,1}, float[4] unused = {1,2,3,4}> {\n"
	"  h = Gemm <transB = 1> (x, w)\n"
	"  y = BatchNormalization (h, scale, bias, mean, var)\n"
	"}\n";

static void moves_statistics(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 16);
	for (int frozen = 0; frozen < 2; frozen++) {
		pai_train_options o = options(f, d, "sgd{lr=0.1}");
		o.session.freeze = frozen ? "mean" : NULL;
		o.epochs = 1;
		pai_train_result r;
		pai_model *m = parse(f, normalised), *before = parse(f, normalised);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		assert_int_equal(same(m, before, "mean"), frozen);
		assert_int_equal(same(m, before, "var"), frozen);
		assert_false(same(m, before, "scale"));
		assert_true(same(m, before, "unused"));
		double sum = 0; /* of input 0 over the batch: w picks it */
		for (int i = 0; i < 16; i++)
			sum += pai_tensor_get(&d->fields[0].tensor, i * 6);
		if (!frozen)
			assert_true(fabs(pai_tensor_get(weight(m, "mean"), 0) - 0.1 * sum / 16) <
				    1e-6);
		pai_model_free(m);
		pai_model_free(before);
	}
}

/* The same, as exporters write it for training, and with equal tensors merged. */
static const char exported[] =
	HEAD "g (float[N, 6] x) => (float[N, 4] y)\n"
	     "<float[4, 6] w = {1,0,0,0,0,0, 0,1,0,0,0,0, 0,0,1,0,0,0, 0,0,0,1,0,0},\n"
	     " float[4] scale = {1,1,1,1}, float[4] bias = {0,0,0,0},\n"
	     " float[4] mean = {0,0,0,0}, float[4] var = {1,1,1,1}, float[4] unused = {1,2,3,4},\n"
	     " bool on = {1}, float half = {0.5}> {\n"
	     "  h = Gemm <transB = 1> (x, w)\n"
	     "  n, m, v = BatchNormalization <training_mode = 1> (h, scale, bias, mean, var)\n"
	     "  y = Dropout (n, half, on)\n"
	     "}\n";

static const char merged[] =
	HEAD "g (float[N, 6] x) => (float[N, 4] y)\n"
	     "<float[4, 6] w = {1,0,0,0,0,0, 0,1,0,0,0,0, 0,0,1,0,0,0, 0,0,0,1,0,0},\n"
	     " float[4] ones = {1,1,1,1}, float[4] zeros = {0,0,0,0}> {\n"
	     "  h = Gemm <transB = 1> (x, w)\n"
	     "  i = BatchNormalization (h, ones, zeros, zeros, ones)\n"
	     "  mean = Identity (zeros)\n"
	     "  y = BatchNormalization (i, ones, zeros, mean, ones)\n"
	     "}\n";

static const char *input_name(const pai_model *m, int node, int slot)
{
	return m->graph->nodes.at[node]->in[slot]->name;
}

static void moves_statistics_of_exports(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 16);
	double sum = 0;
	for (int i = 0; i < 16; i++)
		sum += pai_tensor_get(&d->fields[0].tensor, i * 6) / 16;
	pai_train_options o = options(f, d, "sgd{lr=0.1}");
	o.epochs = 1;
	o.val = d;
	pai_train_result r, again;
	pai_model *m = parse(f, exported);
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
	assert_true(fabs(pai_tensor_get(weight(m, "mean"), 0) - 0.1 * sum) < 1e-6);
	o.session.optimizer_settings = item(f, "sgd{lr=0}");
	o.session.freeze = "mean";
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK); /* measured without dropping */
	assert_int_equal(pai_train(f->ctx, m, &o, &again), PAI_OK);
	assert_true(r.val_loss == again.val_loss && r.val_loss != r.loss);
	pai_model_free(m);
	m = parse(f, merged);
	o = options(f, d, "sgd{lr=0.1}");
	o.epochs = 1;
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
	for (int node = 1; node < 4; node += 2)
		for (int i = 1; i < 5; i++)
			for (int k = i + 1; k < 5; k++)
				assert_string_not_equal(input_name(m, node, i),
							input_name(m, node, k));
	assert_string_not_equal(input_name(m, 1, 1), input_name(m, 3, 1));
	assert_true(fabs(pai_tensor_get(weight(m, input_name(m, 1, 3)), 0) - 0.1 * sum) < 1e-6);
	assert_true(fabs(pai_tensor_get(weight(m, input_name(m, 3, 3)), 0)) < 1e-6);
	pai_model_free(m);
}

static void reports_progress(void *payload, const pai_train_progress *p)
{
	int *seen = payload;
	seen[p->epoch_end]++;
	assert_true(p->step <= p->steps);
	assert_true(p->seconds_left >= 0);
}

static void keeps_to_lengths(void **state)
{
	fixture *f = *state;
	static const struct {
		int n, epochs, batch;
		uint64_t steps;
		bool drop_last;
		uint64_t want_steps;
		int want_epochs;
	} cases[] = {
		{40, 2, 16, 0, false, 6, 2}, {40, 2, 16, 0, true, 4, 2},
		{40, 0, 16, 4, false, 4, 2}, {40, 2, 16, 5, false, 5, 2},
		{40, 1, 64, 0, false, 1, 1},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		pai_train_options o = options(f, samples(f, cases[i].n), "sgd{lr=0.1}");
		int seen[2] = {0, 0};
		o.epochs = cases[i].epochs;
		o.batch = cases[i].batch;
		o.steps = cases[i].steps;
		o.drop_last = cases[i].drop_last;
		o.progress = reports_progress;
		o.payload = seen;
		pai_train_result r;
		pai_model *m = parse(f, network);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		assert_int_equal(r.steps, cases[i].want_steps);
		assert_int_equal(r.epochs, cases[i].want_epochs);
		assert_int_equal(seen[0], cases[i].want_steps);
		assert_int_equal(seen[1], cases[i].want_epochs);
		pai_model_free(m);
	}
	pai_train_options o = options(f, samples(f, 8), "sgd{lr=0.1}");
	o.drop_last = true;
	pai_train_result r;
	pai_model *m = parse(f, network);
	assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_INVALID);
	pai_model_free(m);
}

/* An update may be cut anywhere: chunks give the bits of the whole. */
static void updates_elementwise(void **state)
{
	(void)state;
	enum { N = 1003 };
	static float p[2][N], g[N], s[2][2][N];
	for (int k = 0; pai_optimizer_get(k); k++) {
		const pai_optimizer *o = pai_optimizer_get(k);
		double settings[] = {0.9, 0.99, 1e-3, 0.02}; /* all plausible in each place */
		memset(s, 0, sizeof s);
		for (int i = 0; i < N; i++) {
			p[0][i] = p[1][i] = sinf((float)i);
			g[i] = cosf((float)(3 * i));
		}
		for (uint64_t t = 1; t <= 3; t++) {
			pai_hyper h = {0.05, t, settings};
			pai_factors r = o->prepare(&h);
			o->update(&r, N, 1, g, p[0], (float *[]){s[0][0], s[0][1]});
			for (size_t at = 0, n = 1; at < N; at += n, n += 7) {
				n = at + n > N ? N - at : n;
				o->update(&r, n, 1, g + at, p[1] + at,
					  (float *[]){s[1][0] + at, s[1][1] + at});
			}
		}
		assert_memory_equal(p[0], p[1], sizeof p[0]);
		assert_memory_equal(s[0], s[1], sizeof s[0]);
	}
}

/* Factors by formula, at steps of a run of 100 with 10 an epoch. */
static void schedules_follow_their_formulas(void **state)
{
	static const struct {
		const char *text;
		uint64_t step;
		double want;
	} cases[] = {
		{"constant", 0, 1},
		{"constant{warmup=4}", 0, 0.2},
		{"constant{warmup=4}", 3, 0.8},
		{"constant{warmup=4}", 4, 1},
		{"cosine", 0, 1},
		{"cosine", 50, 0.5},
		{"cosine{end=0.2}", 50, 0.6},
		{"cosine{warmup=20}", 60, 0.5},
		{"linear", 25, 0.75},
		{"linear{end=0.5}", 99, 0.505},
		{"linear{warmup=50}", 75, 0.5},
		{"step{every=3,gamma=0.5}", 29, 1},
		{"step{every=3,gamma=0.5}", 30, 0.5},
		{"step{every=3,gamma=0.5}", 60, 0.25},
		{"constant{warmup=1000}", 99, 100.0 / 1001},
	};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const pai_item *settings = item(f, cases[i].text);
		const pai_schedule *row = pai_schedule_find(settings->name);
		assert_non_null(row);
		assert_int_equal(pai_item_check(f->ctx, settings, row->options), PAI_OK);
		pai_scheduling s = pai_scheduling_new(f->arena, row, settings, 100, 10);
		double got = pai_scheduling_factor(&s, cases[i].step);
		if (fabs(got - cases[i].want) > 1e-12)
			fail_msg("%s at %d: %g, expected %g", cases[i].text, (int)cases[i].step,
				 got, cases[i].want);
	}
}

/* The first step of a warm-up is taken with its share of the learning rate. */
static void steps_by_the_schedule(void **state)
{
	fixture *f = *state;
	pai_dataset *d = samples(f, 32);
	pai_train_options o = options(f, d, "sgd{lr=0.5}");
	pai_model *m[2];
	pai_train_result r;
	o.steps = 1;
	for (int i = 0; i < 2; i++) {
		m[i] = parse(f, network);
		o.schedule = i ? pai_schedule_find("constant") : NULL;
		o.schedule_settings = i ? item(f, "constant{warmup=1}") : NULL;
		o.session.optimizer_settings = item(f, i ? "sgd{lr=1}" : "sgd{lr=0.5}");
		assert_int_equal(pai_train(f->ctx, m[i], &o, &r), PAI_OK);
	}
	/* one step of a warm-up over two: half of the doubled rate */
	assert_true(same(m[0], m[1], "w1") && same(m[0], m[1], "b2"));
	pai_model_free(m[0]);
	pai_model_free(m[1]);
}

static void metrics_score(void **state)
{
	fixture *f = *state;
	pai_tensor *y = pai_tensor_new(f->arena, PAI_FLOAT, 2, (int64_t[]){2, 3});
	pai_tensor *classes = pai_tensor_new(f->arena, PAI_INT64, 1, (int64_t[]){2});
	pai_tensor *targets = pai_tensor_new(f->arena, PAI_FLOAT, 2, (int64_t[]){2, 3});
	static const float values[] = {0, 2, 1, 5, 4, 3};
	pai_copy(y->data, values, sizeof values);
	for (int i = 0; i < 6; i++)
		pai_tensor_set(targets, i, (double)values[i] + (i < 3 ? 1 : 0));
	pai_tensor_set(classes, 0, 1);
	pai_tensor_set(classes, 1, 2);
	pai_tally accuracy = {0}, loss = {0}, mse = {0}, less = {.ignores = true, .ignored = 2};
	pai_metric_find("accuracy")->add(&accuracy, y, classes, 0.25);
	pai_metric_find("loss")->add(&loss, y, classes, 0.25);
	pai_metric_find("mse")->add(&mse, y, targets, 0.25);
	pai_metric_find("accuracy")->add(&less, y, classes, 0.25);
	assert_true(accuracy.sum / accuracy.count == 0.5);
	assert_true(loss.sum / loss.count == 0.25);
	assert_true(mse.sum / mse.count == 0.5);
	assert_true(less.sum == 1 && less.count == 1);
	assert_null(pai_metric_find("none"));
	assert_null(pai_metric_get(3));
}

/* The metric asked for chooses the best model: accuracy upwards, loss downwards. */
static void chooses_by_the_metric(void **state)
{
	static const char *const wanted[] = {NULL, "accuracy", "loss"};
	fixture *f = *state;
	pai_dataset *d = samples(f, 64);
	for (int i = 0; i < 3; i++) {
		pai_train_options o = options(f, d, "sgd{lr=0.3}");
		pai_train_result r;
		o.val = d;
		const pai_metric *metric = wanted[i] ? pai_metric_find(wanted[i]) : NULL;
		o.metrics = &metric;
		o.n_metrics = metric != NULL;
		pai_model *m = parse(f, network);
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		assert_string_equal(r.metric->name, wanted[i] ? wanted[i] : "accuracy");
		if (i == 2)
			assert_true(r.best <= r.val_loss);
		else
			assert_true(r.best >= r.val_accuracy && r.best == r.best_accuracy);
		pai_model_free(m);
	}
}

/* The clean-up must not tie tensors that start equal: layers copied from one, biases of zeros. */
static void trains_apart_after_clean_up(void **state)
{
	static const char text[] =
		HEAD "g (float[N, 2] x) => (float[N, 2] y)\n"
		     "<float[2, 2] w1 = {0.5, -0.25, 1, 0.75}, float[2] b1 = {0, 0},\n"
		     " float[2, 2] w2 = {0.5, -0.25, 1, 0.75}, float[2] b2 = {0, 0}> {\n"
		     "  h = Gemm (x, w1, b1)\n  a = Tanh (h)\n  y = Gemm (a, w2, b2)\n}\n";
	fixture *f = *state;
	pai_train_options o = options(f, NULL, "sgd{lr=0.5}");
	pai_model *m = parse(f, text);
	pai_pipeline p;
	pai_pipeline_report report;
	assert_int_equal(pai_pipeline_parse(f->ctx, f->arena, NULL, &p), PAI_OK);
	assert_int_equal(pai_pipeline_run(m, &p, NULL, f->arena, &report), PAI_OK);
	pai_session *s;
	assert_int_equal(pai_session_new(f->ctx, m, &o.session, &s), PAI_OK);
	assert_int_equal(pai_session_parameters(s), 12);
	pai_session_free(s);
	pai_model_free(m);
}

/* A loss of double or half outputs is that of the same numbers as float. */
static void trains_any_float(void **state)
{
	fixture *f = *state;
	static const struct {
		const char *type;
		int dtype;
		double apart;
	} cases[] = {
		{"float", PAI_FLOAT, 0}, {"double", PAI_DOUBLE, 0}, {"float16", PAI_FLOAT16, 1e-2}};
	double loss[3];
	for (int i = 0; i < 3; i++) {
		pai_model *m = parse(
			f, pai_arena_printf(
				   f->arena,
				   HEAD
				   "#@ graph metadata_props: [\"pai.init.w\": \"he_normal\"]\n"
				   "g (float[N, 6] x, float[4, 6] w) => (%s[N, 4] y) {\n"
				   "  h = Gemm <transB = 1> (x, w)\n  y = Cast <to = %d> (h)\n}\n",
				   cases[i].type, cases[i].dtype));
		const pai_dataset *d = samples(f, 64);
		pai_train_options o = options(f, d, "sgd{lr=0.1}");
		o.val = d;
		pai_train_result r;
		assert_int_equal(pai_train(f->ctx, m, &o, &r), PAI_OK);
		loss[i] = r.val_loss;
		assert_true(r.val_accuracy > 0.4);
		assert_true(fabs(loss[i] - loss[0]) <= cases[i].apart);
		pai_model_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(learns, setup, teardown),
		cmocka_unit_test_setup_teardown(trains_any_float, setup, teardown),
		cmocka_unit_test_setup_teardown(repeats_to_the_bit, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_what_is_frozen, setup, teardown),
		cmocka_unit_test_setup_teardown(scales_learning_rates, setup, teardown),
		cmocka_unit_test_setup_teardown(makes_weights, setup, teardown),
		cmocka_unit_test_setup_teardown(stops_at_nan, setup, teardown),
		cmocka_unit_test_setup_teardown(stops_at_a_bad_gradient, setup, teardown),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(epochs_allocate_little),
		cmocka_unit_test_setup_teardown(leaves_a_run_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(moves_statistics, setup, teardown),
		cmocka_unit_test_setup_teardown(moves_statistics_of_exports, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_to_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(schedules_follow_their_formulas, setup, teardown),
		cmocka_unit_test_setup_teardown(steps_by_the_schedule, setup, teardown),
		cmocka_unit_test_setup_teardown(metrics_score, setup, teardown),
		cmocka_unit_test_setup_teardown(chooses_by_the_metric, setup, teardown),
		cmocka_unit_test_setup_teardown(trains_apart_after_clean_up, setup, teardown),
		cmocka_unit_test(updates_elementwise),
		cmocka_unit_test_setup_teardown(plots_take_their_memory_back, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
