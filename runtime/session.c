/* session.c -- a model under training: one plan a step.
 *
 * Two copies of the model are made: one that trains (training forms, loss, gradients) and one that
 * infers (output, loss). Both read their weights from the same flat array. Parameters lie in it one
 * after another, each at a multiple of 64 bytes; optimiser states (and gradients that are to be
 * kept) lie in arrays of the same layout. The plan moves a parameter when its gradient is there
 * (plan_update.c), but nothing before the loss has been found finite, so the weights are else still
 * those before the step. A gradient that is not finite under a finite loss shows in the weights it
 * moves, which are looked at then. Shapes are fixed in a plan; a batch of another size, such as the
 * last one, gets a plan of its own.
 */
#include "runtime/run.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	ALIGN = 16, /* floats: 64 bytes */
};

typedef struct parameter {
	const char *name;
	pai_value *init, *gradient; /* in the training copy */
	float lr_factor;
	size_t at, n;        /* floats, in the flat arrays */
	pai_factors factors; /* of the step under way */
	_Atomic bool spoilt; /* its gradient was not finite */
} parameter;

typedef struct moving { /* a running statistic */
	const char *name;
	pai_value *init, *next;
	float *now, *then; /* of before and after a step */
	size_t n;
} moving;

typedef struct half { /* the copy that trains, or the one that infers */
	pai_objective objective;
	int n_inputs;          /* labels included */
	const pai_tensor **in; /* of the step under way */
	pai_plan_options options;
	pai_runner *plans; /* by the sizes of the batch */
} half;

struct pai_session {
	pai_ctx *ctx;
	pai_arena *arena;
	pai_session_options options;
	half train, infer;
	parameter *parameters; /* by place in the flat arrays */
	pai_updates updates;
	int n_parameters;
	moving *statistics;
	int n_statistics;
	size_t n; /* floats in each flat array */
	float *weights, *gradients, *states[4];
	double *settings; /* of the optimiser, after lr */
	double lr;
	uint64_t steps;
	float loss;
	bool halfway; /* a step failed after parameters had begun to move */
	struct {
		float *weights, *states[4], *statistics; /* NULL: nothing was kept */
		uint64_t steps;
	} kept;
};

static pai_status no_memory(pai_session *s, size_t nbytes)
{
	return pai_fail(s->ctx, PAI_E_memory, pai_at_nothing(), "%zu bytes for training", nbytes);
}

static pai_status zeros(pai_session *s, size_t n, float **out)
{
	*out = pai_arena_bulk(s->arena, (n ? n : 1) * sizeof(float));
	if (!*out)
		return no_memory(s, n * sizeof(float));
	memset(*out, 0, n * sizeof(float));
	return PAI_OK;
}

static pai_status lr_factor(pai_session *s, const pai_value *v, float *out)
{
	const char *text = pai_prop_get(&s->train.objective.model->graph->props,
					pai_arena_printf(s->arena, "pai.lr.%s", v->name));
	char *end;
	*out = text ? strtof(text, &end) : 1;
	if (text && (end == text || *end || !(*out >= 0) || isinf(*out)))
		return pai_fail(s->ctx, PAI_E_bad_metadata, pai_at_value(v),
				"pai.lr: \"%s\" is no factor of a learning rate", text);
	return PAI_OK;
}

/* Inputs that training leaves alone even where a gradient reaches them. */
static const struct fixed {
	const char *op;
	int input;
} fixed[] = {
	{"BatchNormalization", 3}, /* running statistics */
	{"BatchNormalization", 4},
	{"Pow", 1}, /* an exponent; its gradient is NaN at a negative base */
};

/* By value id: what stands at such an input. */
static const bool *mark_fixed(const pai_session *s)
{
	const pai_graph *g = s->train.objective.model->graph;
	bool *marks = PAI_NEWS(s->arena, bool, g->values.n + 1);
	for (int i = 0; i < g->nodes.n; i++) {
		for (size_t k = 0; k < sizeof fixed / sizeof *fixed; k++) {
			const pai_value *v = pai_node_in(g->nodes.at[i], fixed[k].input);
			if (v && v->graph == g && pai_node_is(g->nodes.at[i], fixed[k].op))
				marks[v->id] = true;
		}
	}
	return marks;
}

/* Floats of the model (not of the loss) that may move: arrays by default, single numbers only when
 * they are asked for. */
static bool is_candidate(const pai_session *s, const pai_model *m, const pai_value *v)
{
	const pai_value *own = pai_graph_value(m->graph, v->name);
	if (!own || !own->init)
		return false;
	const pai_moving moves = {s->options.freeze, s->options.trainable};
	return v->init->dtype == PAI_FLOAT && v->init->nbytes &&
	       (v->init->rank > 0 || s->options.trainable) && pai_moves(&moves, v->name);
}

/* What is meant to stay and is misspelt would move. */
static pai_status check_glob(const pai_session *s, const pai_model *m, const char *glob,
			     const char *what)
{
	for (int i = 0; glob && i < m->graph->inits.n; i++)
		if (pai_glob(glob, m->graph->inits.at[i]->name))
			return PAI_OK;
	return !glob ? PAI_OK
		     : pai_fail(s->ctx, PAI_E_unused_glob, pai_at_file(m->path),
				"no initialiser is named \"%s\", so nothing is %s",
				pai_escape(s->arena, glob), what);
}

/* Those of the candidates that a gradient reaches. */
static pai_status find_parameters(pai_session *s, const pai_model *own)
{
	pai_model *m = s->train.objective.model;
	pai_value **wrt = PAI_NEWS(s->arena, pai_value *, m->graph->inits.n + 1);
	const bool *stays = mark_fixed(s);
	PAI_TRY(check_glob(s, own, s->options.freeze, "frozen"));
	PAI_TRY(check_glob(s, own, s->options.trainable, "trained"));
	int n = 0;
	for (int i = 0; i < m->graph->inits.n; i++) {
		pai_value *v = m->graph->inits.at[i];
		if (!stays[v->id] && is_candidate(s, own, v))
			wrt[n++] = v;
	}
	pai_value **gradients = PAI_NEWS(s->arena, pai_value *, n + 1);
	PAI_TRY(pai_autodiff(m, 1, &s->train.objective.loss, NULL, n, wrt, gradients));
	s->parameters = PAI_NEWS(s->arena, parameter, n + 1);
	for (int i = 0; i < n; i++) {
		if (!gradients[i])
			continue;
		parameter *p = &s->parameters[s->n_parameters++];
		*p = (parameter){.name = wrt[i]->name, .init = wrt[i], .gradient = gradients[i]};
		p->n = wrt[i]->init->nbytes / sizeof(float);
		PAI_TRY(lr_factor(s, wrt[i], &p->lr_factor));
	}
	if (!n)
		return pai_fail(s->ctx, PAI_E_nothing_to_train, pai_at_file(m->path),
				"none of its %d initialisers is an array of floats that may move",
				own->graph->inits.n);
	if (!s->n_parameters)
		return pai_fail(s->ctx, PAI_E_nothing_to_train, pai_at_file(m->path),
				"no gradient reaches any of its %d initialisers that may move", n);
	return PAI_OK;
}

/* In the order of the file. */
static void lay_out(pai_session *s)
{
	for (int i = 0; i < s->n_parameters; i++) {
		s->parameters[i].at = s->n;
		s->n += (s->parameters[i].n + ALIGN - 1) / ALIGN * ALIGN;
	}
}

/* As the model has it. */
static void begin_anew(pai_session *s)
{
	for (int i = 0; i < s->n_parameters; i++)
		pai_copy(s->weights + s->parameters[i].at, s->parameters[i].init->init->data,
			 s->parameters[i].init->init->nbytes);
	for (int i = 0; i < s->options.optimizer->n_states; i++)
		memset(s->states[i], 0, s->n * sizeof(float));
	for (int i = 0; i < s->n_statistics; i++)
		pai_copy(s->statistics[i].now, s->statistics[i].init->init->data,
			 s->statistics[i].init->init->nbytes);
	s->steps = 0;
}

static pai_status make_arrays(pai_session *s)
{
	PAI_TRY(zeros(s, s->n, &s->weights));
	if (s->options.keep_gradients)
		PAI_TRY(zeros(s, s->n, &s->gradients));
	for (int i = 0; i < s->options.optimizer->n_states; i++)
		PAI_TRY(zeros(s, s->n, &s->states[i]));
	const pai_objective *o = &s->train.objective;
	s->statistics = PAI_NEWS(s->arena, moving, o->n_statistics + 1);
	for (int i = 0; i < o->n_statistics; i++) {
		pai_value *v = o->statistics[i].init;
		moving *m = &s->statistics[s->n_statistics++];
		*m = (moving){.name = v->name, .init = v, .next = o->statistics[i].next};
		m->n = v->init->nbytes / sizeof(float);
		PAI_TRY(zeros(s, m->n, &m->then));
		for (int k = 0; k < i && !m->now; k++) /* two nodes may share one */
			m->now = s->statistics[k].init == v ? s->statistics[k].now : NULL;
		if (!m->now)
			PAI_TRY(zeros(s, m->n, &m->now));
	}
	begin_anew(s);
	return PAI_OK;
}

typedef struct bindings {
	pai_value **values;
	void **data;
	int n;
} bindings;

static void bind(bindings *b, pai_value *v, void *data)
{
	for (int i = 0; i < b->n; i++)
		if (b->values[i] == v)
			return;
	b->values[b->n] = v;
	b->data[b->n++] = data;
}

static bindings bindings_new(pai_session *s)
{
	int room = 2 * s->n_parameters + 2 * s->n_statistics + 1;
	return (bindings){PAI_NEWS(s->arena, pai_value *, room), PAI_NEWS(s->arena, void *, room),
			  0};
}

static void set_options(pai_session *s, half *h, const bindings *b, const pai_updates *updates)
{
	h->options = (pai_plan_options){
		.backend = s->options.backend,
		.threads = s->options.threads,
		.often = true,
		.profile = s->options.profile,
		.n_bound = b->n,
		.bound = b->values,
		.bound_data = b->data,
		.updates = updates,
	};
	pai_value *const *inputs;
	h->n_inputs = pai_model_inputs(h->objective.model, &inputs);
	h->in = PAI_NEWS(s->arena, const pai_tensor *, h->n_inputs);
}

/* Before anything moves: do the labels fit, is the loss a number, and by what do parameters move in
 * this step? */
static pai_status begin_updates(void *session, float loss, const pai_tensor *output)
{
	pai_session *s = session;
	PAI_TRY(pai_labels_fit(s->ctx, &s->train.objective, output,
			       s->train.in[s->train.n_inputs - 1]));
	if (!isfinite(loss))
		return pai_fail(s->ctx, PAI_E_not_finite, pai_at_nothing(),
				"the loss of step %llu is %s", (unsigned long long)s->steps + 1,
				isnan(loss) ? "NaN" : "infinite");
	s->halfway = true;
	s->steps++;
	for (int i = 0; i < s->n_parameters; i++) {
		parameter *p = &s->parameters[i];
		p->spoilt = false;
		pai_hyper h = {s->lr * (double)p->lr_factor, s->steps, s->settings};
		p->factors = i && p->lr_factor == p[-1].lr_factor
				     ? p[-1].factors
				     : s->options.optimizer->prepare(&h);
	}
	return PAI_OK;
}

static void move_parameter(void *session, int i, size_t from, size_t n, float scale, const float *g)
{
	const pai_session *s = session;
	parameter *p = &s->parameters[i];
	float *w = s->weights + p->at, *state[sizeof s->states / sizeof s->states[0]] = {0};
	for (int k = 0; k < s->options.optimizer->n_states; k++)
		state[k] = s->states[k] + p->at + from;
	if (!s->options.optimizer->update(&p->factors, n, scale, g, w + from, state))
		p->spoilt = true;
}

static void set_updates(pai_session *s)
{
	pai_value **parameters = PAI_NEWS(s->arena, pai_value *, s->n_parameters);
	pai_value **gradients = PAI_NEWS(s->arena, pai_value *, s->n_parameters);
	for (int i = 0; i < s->n_parameters; i++) {
		parameters[i] = s->parameters[i].init;
		gradients[i] = s->parameters[i].gradient;
	}
	s->updates = (pai_updates){.name = s->options.optimizer->name,
				   .n = s->n_parameters,
				   .parameters = parameters,
				   .gradients = gradients,
				   .loss = s->train.objective.loss,
				   .output = s->train.objective.output,
				   .payload = s,
				   .begin = begin_updates,
				   .move = move_parameter};
}

static void bind_all(pai_session *s)
{
	bindings t = bindings_new(s), i = bindings_new(s);
	const pai_graph *g = s->infer.objective.model->graph;
	for (int k = 0; k < s->n_parameters; k++) {
		const parameter *p = &s->parameters[k];
		bind(&t, p->init, s->weights + p->at);
		if (s->gradients)
			bind(&t, p->gradient, s->gradients + p->at);
		bind(&i, pai_graph_value(g, p->name), s->weights + p->at);
	}
	for (int k = 0; k < s->n_statistics; k++) {
		const moving *m = &s->statistics[k];
		bind(&t, m->init, m->now);
		bind(&t, m->next, m->then);
		bind(&i, pai_graph_value(g, m->name), m->now);
	}
	bind(&t, s->train.objective.loss, &s->loss);
	set_updates(s);
	set_options(s, &s->train, &t, &s->updates);
	set_options(s, &s->infer, &i, NULL);
}

/* Gradients must be what the arrays are laid out for. */
static pai_status check_gradients(pai_session *s)
{
	for (int i = 0; i < s->n_parameters; i++) {
		const pai_type *w = &s->parameters[i].init->type,
			       *g = &s->parameters[i].gradient->type;
		bool fits = g->dtype == PAI_FLOAT && (g->rank < 0 || g->rank == w->rank);
		for (int k = 0; fits && k < g->rank; k++)
			fits = g->dims[k] < 0 || g->dims[k] == w->dims[k];
		if (!fits)
			return pai_fail(s->ctx, PAI_E_internal, pai_at_value(s->parameters[i].init),
					"its gradient has another type or shape");
	}
	return PAI_OK;
}

static void read_settings(pai_session *s)
{
	const pai_optimizer *o = s->options.optimizer;
	const pai_item defaults = {.name = o->name};
	const pai_item *item =
		s->options.optimizer_settings ? s->options.optimizer_settings : &defaults;
	int n = 0;
	while (o->options[n].name)
		n++;
	s->settings = PAI_NEWS(s->arena, double, n);
	s->lr = pai_item_float(item, o->options, "lr");
	for (int i = 1; i < n; i++) {
		const char *key = o->options[i].name;
		bool is_bool = o->options[i].type == PAI_OPT_BOOL;
		s->settings[i - 1] = is_bool ? pai_item_bool(item, o->options, key)
					     : pai_item_float(item, o->options, key);
	}
}

static pai_status build(pai_session *s, const pai_model *m)
{
	assert(s->options.optimizer->n_states <= (int)(sizeof s->states / sizeof s->states[0]));
	PAI_TRY(pai_objective_new(s->ctx, m, &s->options, true, &s->train.objective));
	PAI_TRY(pai_objective_new(s->ctx, m, &s->options, false, &s->infer.objective));
	PAI_TRY(find_parameters(s, m));
	PAI_TRY(check_gradients(s));
	lay_out(s);
	PAI_TRY(make_arrays(s));
	bind_all(s);
	read_settings(s);
	PAI_TRY(pai_runner_new(s->ctx, s->train.objective.model, &s->train.options,
			       &s->train.plans));
	return pai_runner_new(s->ctx, s->infer.objective.model, &s->infer.options, &s->infer.plans);
}

pai_status pai_session_new(pai_ctx *ctx, const pai_model *m, const pai_session_options *o,
			   pai_session **out)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_session *s = PAI_NEW(a, pai_session);
	s->ctx = ctx;
	s->arena = a;
	s->options = *o;
	pai_status status = build(s, m);
	if (status != PAI_OK) {
		pai_session_free(s);
		return status;
	}
	*out = s;
	return PAI_OK;
}

static void free_half(half *h)
{
	pai_runner_free(h->plans);
	pai_model_free(h->objective.model);
}

void pai_session_free(pai_session *s)
{
	if (!s)
		return;
	free_half(&s->train);
	free_half(&s->infer);
	pai_arena_free(s->arena);
}

static pai_status check_weights(const pai_session *s)
{
	for (int i = 0; i < s->n_parameters; i++) {
		const parameter *p = &s->parameters[i];
		if (p->spoilt)
			return pai_fail(
				s->ctx, PAI_E_not_finite,
				pai_at_file(s->train.objective.model->path),
				"initialiser \"%s\" has NaN or infinite elements after step "
				"%llu, whose loss was %g",
				p->name, (unsigned long long)s->steps, (double)s->loss);
	}
	return PAI_OK;
}

/* The last step of the training plan. */
static pai_status finish_step(void *args, pai_run *run)
{
	pai_session *s = args;
	(void)run;
	for (int i = 0; i < s->n_statistics; i++)
		pai_copy(s->statistics[i].now, s->statistics[i].then,
			 s->statistics[i].n * sizeof(float));
	PAI_TRY(check_weights(s));
	s->halfway = false;
	return PAI_OK;
}

/* The plan for inputs of these shapes; made when there is none. */
static pai_status plan_for(pai_session *s, half *h, const pai_tensor *const *in, pai_plan **out)
{
	*out = pai_runner_find(h->plans, in);
	if (*out)
		return PAI_OK;
	for (int k = 0; k < h->n_inputs; k++)
		s->ctx->bytes_read += in[k]->nbytes; /* by whoever hands it over */
	PAI_TRY(pai_runner_make(h->plans, in, out));
	if (h == &s->train)
		pai_plan_append(*out, "finish", finish_step, s);
	return PAI_OK;
}

static pai_status run_half(pai_session *s, half *h, const pai_tensor *const *inputs,
			   const pai_tensor *labels, const pai_tensor **outputs)
{
	pai_copy(h->in, inputs, sizeof *h->in * (size_t)(h->n_inputs - 1));
	h->in[h->n_inputs - 1] = labels;
	pai_plan *p;
	PAI_TRY(plan_for(s, h, h->in, &p));
	pai_plan_set_step(p, s->steps);
	return pai_plan_run(p, h->in, outputs);
}

/* What stands between two steps serves nobody. */
static pai_status check_whole(const pai_session *s)
{
	return !s->halfway ? PAI_OK
			   : pai_fail(s->ctx, PAI_E_halfway,
				      pai_at_file(s->train.objective.model->path),
				      "step %llu failed when some parameters had moved",
				      (unsigned long long)s->steps);
}

pai_status pai_session_step(pai_session *s, const pai_tensor *const *inputs,
			    const pai_tensor *labels, float *loss)
{
	const pai_tensor *outputs[1];
	PAI_TRY(check_whole(s));
	PAI_TRY(run_half(s, &s->train, inputs, labels, outputs));
	*loss = s->loss;
	return PAI_OK;
}

pai_status pai_session_evaluate(pai_session *s, const pai_tensor *const *inputs,
				const pai_tensor *labels, const pai_tensor **output, float *loss)
{
	const pai_tensor *outputs[2];
	PAI_TRY(check_whole(s));
	PAI_TRY(run_half(s, &s->infer, inputs, labels, outputs));
	PAI_TRY(pai_labels_fit(s->ctx, &s->infer.objective, outputs[0], labels));
	*output = outputs[0];
	*loss = *(const float *)outputs[1]->data;
	return PAI_OK;
}

const pai_plan *pai_session_plan(const pai_session *s)
{
	return pai_runner_last(s->train.plans);
}

void pai_session_set_lr(pai_session *s, float lr)
{
	s->lr = (double)lr;
}

float pai_session_lr(const pai_session *s)
{
	return (float)s->lr;
}

int64_t pai_session_parameters(const pai_session *s)
{
	size_t n = 0;
	for (int i = 0; i < s->n_parameters; i++)
		n += s->parameters[i].n;
	return (int64_t)n;
}

const float *pai_session_gradient(const pai_session *s, const char *initializer)
{
	for (int i = 0; i < s->n_parameters && s->gradients; i++)
		if (strcmp(s->parameters[i].name, initializer) == 0)
			return s->gradients + s->parameters[i].at;
	return NULL;
}

const pai_objective *pai_session_objective(const pai_session *s)
{
	return &s->infer.objective;
}

static pai_status store_one(const pai_session *s, pai_model *m, pai_patch *p, const char *name,
			    const float *from)
{
	pai_value *v = pai_graph_value(m->graph, name);
	if (!v || !v->init)
		return pai_fail(s->ctx, PAI_E_internal, pai_at_file(m->path),
				"the model has no initialiser \"%s\"", name);
	pai_tensor *t = pai_tensor_new(m->arena, PAI_FLOAT, v->init->rank, v->init->dims);
	if (!t)
		return pai_fail(s->ctx, PAI_E_memory, pai_at_value(v), "to store it");
	pai_copy(t->data, from, t->nbytes);
	pai_patch_set_init(p, v, t);
	return PAI_OK;
}

pai_status pai_session_store(const pai_session *s, pai_model *m)
{
	PAI_TRY(check_whole(s));
	pai_patch *p = pai_patch_new(m->graph);
	pai_patch_begin(p, NULL, "trained weights");
	for (int i = 0; i < s->n_parameters; i++)
		PAI_TRY(store_one(s, m, p, s->parameters[i].name,
				  s->weights + s->parameters[i].at));
	for (int i = 0; i < s->n_statistics; i++)
		PAI_TRY(store_one(s, m, p, s->statistics[i].name, s->statistics[i].now));
	pai_applied applied;
	return pai_patch_apply(p, -1, &applied);
}

static size_t statistics_size(const pai_session *s)
{
	size_t n = 0;
	for (int i = 0; i < s->n_statistics; i++)
		n += s->statistics[i].n;
	return n;
}

static pai_status make_kept(pai_session *s)
{
	if (s->kept.weights)
		return PAI_OK;
	PAI_TRY(zeros(s, statistics_size(s), &s->kept.statistics));
	for (int i = 0; i < s->options.optimizer->n_states; i++)
		PAI_TRY(zeros(s, s->n, &s->kept.states[i]));
	return zeros(s, s->n, &s->kept.weights);
}

pai_status pai_session_keep(pai_session *s)
{
	PAI_TRY(check_whole(s));
	PAI_TRY(make_kept(s));
	pai_copy(s->kept.weights, s->weights, s->n * sizeof(float));
	for (int i = 0; i < s->options.optimizer->n_states; i++)
		pai_copy(s->kept.states[i], s->states[i], s->n * sizeof(float));
	float *to = s->kept.statistics;
	for (int i = 0; i < s->n_statistics; to += s->statistics[i++].n)
		pai_copy(to, s->statistics[i].now, s->statistics[i].n * sizeof(float));
	s->kept.steps = s->steps;
	return PAI_OK;
}

void pai_session_restore(pai_session *s)
{
	s->halfway = false;
	if (!s->kept.weights) {
		begin_anew(s);
		return;
	}
	pai_copy(s->weights, s->kept.weights, s->n * sizeof(float));
	for (int i = 0; i < s->options.optimizer->n_states; i++)
		pai_copy(s->states[i], s->kept.states[i], s->n * sizeof(float));
	const float *from = s->kept.statistics;
	for (int i = 0; i < s->n_statistics; from += s->statistics[i++].n)
		pai_copy(s->statistics[i].now, from, s->statistics[i].n * sizeof(float));
	s->steps = s->kept.steps;
}

bool pai_session_finite(const pai_session *s, const char **name)
{
	for (int i = 0; i < s->n_parameters; i++) {
		const float *w = s->weights + s->parameters[i].at;
		for (size_t k = 0; k < s->parameters[i].n; k++)
			if (!isfinite(w[k])) {
				*name = s->parameters[i].name;
				return false;
			}
	}
	return true;
}
