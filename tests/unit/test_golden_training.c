/* test_golden_training.c -- optimisers, losses and whole runs against numbers of another engine.
 *
 * tests/data/golden/training/index.json lists the cases, with their tolerances; what each file
 * holds is told there by its keys. A case of expected_failures.txt must fail with the error given
 * there.
 */
#include "tests/unit/golden.h"
#include <math.h>
#include <stdio.h>

#define DATA PAI_TEST_DATA "/golden/training/"

typedef struct test {
	pai_ctx *ctx;
	pai_arena *arena;
	const cJSON *c; /* the case */
	const char *id;
	pai_backend backend;
	pai_tensor **t; /* of its npz */
	int n;
	char why[400]; /* what is wrong; "" so far nothing */
} test;

static void wrong(test *t, const char *fmt, ...) PAI_PRINTF(2, 3);
static void wrong(test *t, const char *fmt, ...)
{
	if (*t->why)
		return;
	va_list args;
	va_start(args, fmt);
	vsnprintf(t->why, sizeof t->why, fmt, args);
	va_end(args);
}

static void wrong_call(test *t, const char *what)
{
	int n = pai_diag_count(t->ctx);
	const pai_diag *d = n ? pai_diag_get(t->ctx, 0) : NULL;
	wrong(t, "%s: %s %s", what, d ? d->where : "", d ? d->text : "failed without a message");
}

static const pai_tensor *get(test *t, const char *name)
{
	for (int i = 0; i < t->n; i++)
		if (strcmp(t->t[i]->name, name) == 0)
			return t->t[i];
	return NULL;
}

static const pai_tensor *get2(test *t, const char *prefix, const char *name)
{
	return get(t, pai_arena_printf(t->arena, "%s%s", prefix, name));
}

static const cJSON *field(const cJSON *o, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(o, key);
}

static double number(const cJSON *o, const char *key, double otherwise)
{
	const cJSON *v = field(o, key);
	return cJSON_IsNumber(v) ? v->valuedouble : cJSON_IsBool(v) ? cJSON_IsTrue(v) : otherwise;
}

static void compare(test *t, const char *what, const float *got, const pai_tensor *want, int64_t at,
		    int64_t n, double atol, double rtol)
{
	for (int64_t i = 0; i < n; i++) {
		double w = pai_tensor_get(want, at + i), g = (double)got[i];
		if (!(fabs(g - w) <= atol + rtol * fabs(w))) {
			wrong(t, "%s[%lld] is %.9g, expected %.9g", what, (long long)i, g, w);
			return;
		}
	}
}

/* One sample of a tensor whose axis 0 counts them. */
static pai_tensor slice(test *t, const pai_tensor *from, int64_t i)
{
	pai_tensor s = *from;
	s.rank--;
	s.dims = from->dims + 1;
	s.nbytes = from->nbytes / (size_t)from->dims[0];
	s.data = pai_arena_bulk(t->arena, s.nbytes + 1);
	pai_copy(s.data, (uint8_t *)from->data + (size_t)i * s.nbytes, s.nbytes);
	return s;
}

static const pai_item *parse_item(test *t, const char *text, const pai_option *options)
{
	pai_item *items;
	int n;
	if (pai_items_parse(t->ctx, t->arena, text, &items, &n) != PAI_OK ||
	    pai_item_check(t->ctx, items, options) != PAI_OK) {
		wrong_call(t, text);
		return NULL;
	}
	return items;
}

/* The optimiser as a user would spell it. */
static const char *spell(test *t, const char *name, const cJSON *p)
{
	const cJSON *betas = field(p, "betas");
	const char *s = pai_arena_printf(t->arena, "lr=%.17g,weight_decay=%.17g",
					 number(p, "lr", 0), number(p, "weight_decay", 0));
	if (strcmp(name, "SGD") == 0)
		return pai_arena_printf(
			t->arena, "sgd{%s,momentum=%.17g,nesterov=%s,dampening=%.17g}", s,
			number(p, "momentum", 0), number(p, "nesterov", 0) ? "true" : "false",
			number(p, "dampening", 0));
	return pai_arena_printf(t->arena, "%s{%s,beta1=%.17g,beta2=%.17g,eps=%.17g%s}",
				strcmp(name, "Adam") == 0 ? "adam" : "adamw", s,
				cJSON_GetArrayItem(betas, 0)->valuedouble,
				cJSON_GetArrayItem(betas, 1)->valuedouble, number(p, "eps", 0),
				number(p, "amsgrad", 0) ? ",amsgrad=true" : "");
}

static const pai_optimizer *optimizer_of(const char *text)
{
	char name[16] = {0};
	memcpy(name, text, strcspn(text, "{"));
	return pai_optimizer_find(name);
}

static void check_optimiser(test *t)
{
	const char *text =
		spell(t, field(t->c, "optimiser")->valuestring, field(t->c, "parameters"));
	const pai_optimizer *o = optimizer_of(text);
	const pai_item *item = parse_item(t, text, o->options);
	if (!item)
		return;
	double settings[16];
	for (int i = 1; o->options[i].name; i++)
		settings[i - 1] = o->options[i].type == PAI_OPT_BOOL
					  ? pai_item_bool(item, o->options, o->options[i].name)
					  : pai_item_float(item, o->options, o->options[i].name);
	const cJSON *tensor, *tol = field(t->c, "tol");
	cJSON_ArrayForEach(tensor, field(t->c, "tensors"))
	{
		const pai_tensor *p0 = get2(t, "p0.", tensor->string),
				 *grads = get2(t, "grads.", tensor->string),
				 *params = get2(t, "params.", tensor->string);
		size_t n = (size_t)pai_tensor_nelem(p0);
		float *p = pai_arena_dup(t->arena, p0->data, p0->nbytes), *state[4];
		for (int i = 0; i < o->n_states; i++)
			state[i] = PAI_NEWS(t->arena, float, n);
		for (int64_t step = 0; step < grads->dims[0]; step++) {
			pai_hyper h = {pai_item_float(item, o->options, "lr"), (uint64_t)step + 1,
				       settings};
			pai_factors f = o->prepare(&h);
			o->update(&f, n, 1, (float *)grads->data + n * (size_t)step, p, state);
			compare(t, tensor->string, p, params, step * (int64_t)n, (int64_t)n,
				number(tol, "atol", 0), number(tol, "rtol", 0));
		}
	}
}

/* A model whose only weight is handed out, so that its gradient is that of the loss. */
static pai_model *weight_as_output(test *t, const pai_tensor *w)
{
	pai_model *m = pai_model_new(t->ctx, "g", 21);
	pai_value *v = pai_graph_add_value(m->graph, "w");
	v->init = pai_arena_dup(m->arena, w, sizeof *w);
	v->init->name = "w";
	PAI_PUSH(m->arena, m->graph->inits, v);
	pai_node *n = pai_graph_add_node(m->graph, "", "Identity", 1, 1);
	n->in[0] = v;
	n->out[0] = pai_graph_add_value(m->graph, "y");
	n->out[0]->producer = n;
	n->out[0]->is_output = true;
	n->out[0]->type = (pai_type){PAI_TYPE_TENSOR, PAI_FLOAT, w->rank, w->dims, NULL};
	PAI_PUSH(m->arena, m->graph->outputs, n->out[0]);
	return m;
}

static void check_loss(test *t)
{
	const char *name = field(t->c, "loss")->valuestring;
	bool mse = strcmp(name, "mse") == 0;
	const pai_loss *loss = pai_loss_find(mse ? "mse" : "cross-entropy");
	const cJSON *p = field(t->c, "parameters"), *tol = field(t->c, "tol");
	const pai_tensor *target = get(t, "in.target");
	const char *text = pai_arena_printf(t->arena, "%s{reduction=%s", loss->name,
					    field(t->c, "reduction")->valuestring);
	if (field(p, "label_smoothing"))
		text = pai_arena_printf(t->arena, "%s,label_smoothing=%.17g", text,
					number(p, "label_smoothing", 0));
	if (field(p, "ignore_index"))
		text = pai_arena_printf(t->arena, "%s,ignore_index=%d", text,
					(int)number(p, "ignore_index", 0));
	const pai_tensor *weight = get(t, "in.weight");
	for (int64_t i = 0; weight && i < weight->dims[0]; i++)
		text = pai_arena_printf(t->arena, "%s%s%.9g%s", text, i ? "," : ",class_weights=\"",
					pai_tensor_get(weight, i),
					i + 1 < weight->dims[0] ? "" : "\"");
	const pai_item *item =
		parse_item(t, pai_arena_printf(t->arena, "%s}", text), loss->options);
	if (!item)
		return;
	pai_session_options o = {.loss = loss,
				 .loss_settings = item,
				 .optimizer = pai_optimizer_find("sgd"),
				 .float_labels = target->dtype == PAI_FLOAT,
				 .keep_gradients = true,
				 .backend = t->backend};
	const char *input = mse ? "prediction" : "logits";
	const pai_tensor *x = get2(t, "in.", input), *grad = get2(t, "grad.", input);
	pai_model *m = weight_as_output(t, x);
	pai_session *s = NULL;
	float value;
	if (pai_session_new(t->ctx, m, &o, &s) != PAI_OK ||
	    pai_session_step(s, NULL, target, &value) != PAI_OK) {
		wrong_call(t, "step");
	} else {
		double atol = number(tol, "atol", 0), rtol = number(tol, "rtol", 0);
		compare(t, "loss", &value, get(t, "value"), 0, 1, atol, rtol);
		compare(t, "gradient", pai_session_gradient(s, "w"), grad, 0,
			pai_tensor_nelem(grad), atol, rtol);
	}
	pai_session_free(s);
	pai_model_free(m);
}

static void check_eval(test *t, pai_session *s, const char *key, double tol)
{
	const pai_tensor *x = get(t, "eval.x"), *want = get(t, key), *output;
	float loss;
	if (pai_session_evaluate(s, &x, get(t, "eval.y"), &output, &loss) != PAI_OK)
		wrong_call(t, "evaluate");
	else
		compare(t, key, output->data, want, 0, pai_tensor_nelem(want), tol, 0);
}

static void check_gradients(test *t, pai_session *s)
{
	const cJSON *w;
	int n = 0;
	cJSON_ArrayForEach(w, field(t->c, "trainable"))
	{
		const pai_tensor *want = get2(t, "grad1.", w->valuestring);
		const float *got = pai_session_gradient(s, w->valuestring);
		if (!got) {
			wrong(t, "\"%s\" is not trained", w->valuestring);
			continue;
		}
		compare(t, pai_arena_printf(t->arena, "grad1.%s", w->valuestring), got, want, 0,
			pai_tensor_nelem(want), 2e-5, 1e-4);
		n += (int)pai_tensor_nelem(want);
	}
	if (n != pai_session_parameters(s))
		wrong(t, "%lld parameters are trained, expected %d",
		      (long long)pai_session_parameters(s), n);
}

static void check_steps(test *t, pai_session *s, const char *run, const cJSON *tol, bool keep)
{
	const pai_tensor *x = get(t, "x"), *y = get(t, "y"), *want = get2(t, run, ".loss");
	double eval_tol = number(tol, "eval", 0);
	check_eval(t, s, "eval.before", eval_tol);
	for (int64_t i = 0; i < x->dims[0] && !*t->why; i++) {
		pai_tensor xi = slice(t, x, i), yi = slice(t, y, i);
		const pai_tensor *in = &xi;
		float loss;
		if (pai_session_step(s, &in, &yi, &loss) != PAI_OK)
			wrong_call(t, "step");
		else
			compare(t, pai_arena_printf(t->arena, "%s.loss %d", run, (int)i), &loss,
				want, i, 1, number(tol, "loss", 0), 0);
		if (i == 0 && keep && !*t->why)
			check_gradients(t, s);
	}
	if (!*t->why)
		check_eval(t, s, pai_arena_printf(t->arena, "%s.eval.after", run), eval_tol);
}

/* Where gradients are not kept, updates are taken into the products that make them. */
static void check_run(test *t, const pai_model *m, const char *run, const cJSON *r, bool keep)
{
	const pai_optimizer *optimizer;
	const char *text;
	if (strcmp(run, "sgd") == 0) {
		optimizer = pai_optimizer_find("sgd");
		text = pai_arena_printf(t->arena, "sgd{lr=%.17g,momentum=%.17g}",
					number(r, "lr", 0), number(r, "momentum", 0));
	} else {
		optimizer = pai_optimizer_find("adam");
		text = pai_arena_printf(t->arena, "adam{lr=%.17g}", number(r, "lr", 0));
	}
	pai_session_options o = {.loss = pai_loss_find("cross-entropy"),
				 .optimizer = optimizer,
				 .optimizer_settings = parse_item(t, text, optimizer->options),
				 .backend = t->backend,
				 .keep_gradients = keep};
	pai_session *s;
	if (pai_session_new(t->ctx, m, &o, &s) != PAI_OK) {
		wrong_call(t, "session");
		return;
	}
	check_steps(t, s, run, field(r, "tol"), keep);
	pai_model *after = pai_model_clone(m);
	if (!*t->why && pai_session_store(s, after) != PAI_OK)
		wrong_call(t, "store");
	const cJSON *w;
	cJSON_ArrayForEach(w, field(field(r, "tol"), "weights"))
	{
		const pai_value *v = pai_graph_value(after->graph, w->string);
		const char *key = pai_arena_printf(t->arena, "%s.final.%s", run, w->string);
		const pai_tensor *want = get(t, key);
		if (!*t->why)
			compare(t, key, v->init->data, want, 0, pai_tensor_nelem(want),
				w->valuedouble, 0);
	}
	pai_model_free(after);
	pai_session_free(s);
}

/* What the model gives without a session, which a model without a gradient has none of. */
static void check_forward(test *t, const pai_model *m)
{
	const pai_tensor *x = get(t, "eval.x"), *want = get(t, "eval.before"), *output;
	const cJSON *tol = field(field(t->c, "runs")->child, "tol");
	pai_plan_options o = {.backend = t->backend};
	pai_runner *r;
	if (pai_runner_new(t->ctx, m, &o, &r) != PAI_OK) {
		wrong_call(t, "runner");
		return;
	}
	if (pai_runner_run(r, &x, &output) != PAI_OK)
		wrong_call(t, "run");
	else
		compare(t, "forward", output->data, want, 0, pai_tensor_nelem(want),
			number(tol, "eval", 0), 0);
	pai_runner_free(r);
}

static void check_trajectory(test *t)
{
	const char *path =
		pai_arena_printf(t->arena, "%s%s", DATA, field(t->c, "model")->valuestring);
	pai_model *m;
	if (pai_model_read(t->ctx, path, &m) != PAI_OK) {
		wrong_call(t, "read");
		return;
	}
	if (pai_infer(m) != PAI_OK)
		wrong_call(t, "infer");
	else
		check_forward(t, m);
	const cJSON *r;
	for (int keep = 0; keep < 2 && !*t->why; keep++)
		cJSON_ArrayForEach(r, field(t->c, "runs")) check_run(t, m, r->string, r, keep);
	pai_model_free(m);
}

static void check_family(const char *family, void (*check)(test *t), pai_backend backend)
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	const char *list = read_expected(ctx, a);
	cJSON *index = read_index(ctx, a, DATA "index.json");
	const cJSON *c;
	int seen = 0, failed = 0;
	cJSON_ArrayForEach(c, field(index, "cases"))
	{
		if (strcmp(field(c, "family")->valuestring, family) != 0)
			continue;
		test t = {.ctx = pai_ctx_new(NULL), .c = c, .backend = backend};
		t.ctx->threads = 1;
		t.arena = pai_arena_new(t.ctx);
		t.id = field(c, "id")->valuestring;
		const char *path =
			pai_arena_printf(t.arena, "%s%s", DATA, field(c, "data")->valuestring);
		assert_int_equal(pai_tensors_read(t.ctx, t.arena, path, &t.t, &t.n), PAI_OK);
		check(&t);
		const char *verdict =
			judge(!*t.why, expected_error(list, t.id), first_error(t.ctx));
		if (verdict)
			print_error("%s: %s: %s\n", t.id, verdict, t.why);
		failed += verdict != NULL;
		seen++;
		pai_arena_free(t.arena);
		pai_ctx_free(t.ctx);
	}
	cJSON_Delete(index);
	pai_arena_free(a);
	pai_ctx_free(ctx);
	assert_true(seen > 0);
	assert_int_equal(failed, 0);
}

static void optimisers(void **state)
{
	(void)state;
	check_family("optimiser", check_optimiser, PAI_FAST);
}

static void losses_reference(void **state)
{
	(void)state;
	check_family("loss", check_loss, PAI_REFERENCE);
}

static void losses_fast(void **state)
{
	(void)state;
	check_family("loss", check_loss, PAI_FAST);
}

static void trajectories_reference(void **state)
{
	(void)state;
	check_family("trajectory", check_trajectory, PAI_REFERENCE);
}

static void trajectories_fast(void **state)
{
	(void)state;
	check_family("trajectory", check_trajectory, PAI_FAST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(optimisers),        cmocka_unit_test(losses_reference),
		cmocka_unit_test(losses_fast),       cmocka_unit_test(trajectories_reference),
		cmocka_unit_test(trajectories_fast),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
