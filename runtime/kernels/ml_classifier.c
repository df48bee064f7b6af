/* ml_classifier.c -- LinearClassifier and SVMClassifier of ai.onnx.ml: scores of classes, and the
 * label of the best. The arithmetic is double. Support vector machines with probabilities (prob_a,
 * prob_b) are not executed.
 */
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/move.h"
#include <math.h>
#include <string.h>

/* ---- labels and scores, for both ---- */

typedef struct classes { /* what the node calls them: ints, else strings, else their numbers */
	int64_t n;
	const int64_t *ints;
	const pai_str *strings;
} classes;

static classes classes_of(const pai_node *n)
{
	const pai_attr *names = pai_node_attr(n, "classlabels_strings");
	const int64_t *ints = NULL;
	int count = pai_node_ints(n, "classlabels_ints", &ints);
	classes k = {.n = 0};
	if (names && names->type == PAI_ATTR_STRINGS && names->list.n > 0)
		k = (classes){.n = names->list.n, .strings = names->list.s};
	else if (count > 0)
		k = (classes){.n = count, .ints = ints};
	return k;
}

static void give_label(const classes *k, pai_tensor *t, int64_t row, int64_t class)
{
	if (!t)
		return;
	if (k->strings)
		((pai_str *)t->data)[row] = k->strings[class];
	else
		((int64_t *)t->data)[row] = k->ints ? k->ints[class] : class;
}

static int64_t largest(const double *v, int64_t n)
{
	int64_t at = 0;
	for (int64_t i = 1; i < n; i++)
		at = v[i] > v[at] ? i : at;
	return at;
}

typedef void (*transform_fn)(double *v, int64_t n);

static void as_they_are(double *v, int64_t n)
{
	(void)v, (void)n;
}

static void logistic(double *v, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		v[i] = 1 / (1 + exp(-v[i]));
}

/* keep_zeros: elements that are 0 have exp(-max) times 0 as their share */
static void soft(double *v, int64_t n, bool keep_zeros)
{
	double most = v[largest(v, n)], sum = 0;
	for (int64_t i = 0; i < n; i++) {
		v[i] = keep_zeros && fabs(v[i]) <= 1e-7 ? v[i] * exp(-most) : exp(v[i] - most);
		sum += v[i];
	}
	for (int64_t i = 0; i < n; i++)
		v[i] = sum != 0 ? v[i] / sum : 0.5;
}

static void softmax(double *v, int64_t n)
{
	soft(v, n, false);
}

static void softmax_zero(double *v, int64_t n)
{
	soft(v, n, true);
}

static const struct transform {
	const char *name;
	transform_fn fn;
} transforms[] = {{"NONE", as_they_are},
		  {"LOGISTIC", logistic},
		  {"SOFTMAX", softmax},
		  {"SOFTMAX_ZERO", softmax_zero},
		  {NULL}};

static pai_status read_transform(pai_call *c, transform_fn *out)
{
	const char *given = pai_node_string(c->node, "post_transform", "NONE");
	const struct transform *found = pai_table_find(PAI_TABLE(transforms), given);
	if (!found)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "post_transform"),
				"is \"%s\", which is not computed", given);
	*out = found->fn;
	return PAI_OK;
}

/* Rows of the input as double, [n, features]; a vector is one row. */
static pai_status read_rows(pai_call *c, int64_t *n, int64_t *features, const double **x)
{
	const pai_tensor *t = c->in[0];
	if (t->rank < 1 || t->rank > 2 || pai_lane_of(t->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not [samples, features] of numbers");
	*n = t->rank > 1 ? t->dims[0] : 1;
	*features = t->dims[t->rank - 1];
	*x = pai_lane_view(c, PAI_LANE_F64, t);
	return *x ? PAI_OK : pai_call_nomem(c);
}

static pai_status give_shapes(pai_call *c, const classes *k, int64_t n, int64_t scores)
{
	PAI_TRY(pai_call_output(c, 0, k->strings ? PAI_STRING : PAI_INT64, 1, &n));
	if (c->n_out < 2)
		return PAI_OK;
	return pai_call_output(c, 1, PAI_FLOAT, 2, (int64_t[]){n, scores});
}

static void give_scores(pai_call *c, int64_t row, const double *v, int64_t n)
{
	if (c->n_out > 1 && c->out[1])
		pai_lane_store(PAI_LANE_F64, v, PAI_FLOAT, c->out[1]->data, row * n, n);
}

static pai_status bad_count(pai_call *c, const char *attr)
{
	return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_attr(c->node, attr),
			"has a number of elements that does not fit the classes and features");
}

pai_status pai_shape_classifier(pai_shape_ctx *s)
{
	classes k = classes_of(s->node);
	bool rows = pai_shape_known(s, 0) && s->in[0]->rank == 2;
	pai_dim n = rows ? s->in[0]->dims[0] : PAI_DIM_UNKNOWN;
	s->out[0].kind = PAI_TYPE_TENSOR;
	s->out[0].dtype = k.strings ? PAI_STRING : PAI_INT64;
	if (!rows)
		return PAI_OK;
	pai_shape_set(s, 0, 1, &n);
	pai_shape_set(s, 1, 2, (const pai_dim[]){n, PAI_DIM_UNKNOWN});
	return PAI_OK;
}

/* ---- LinearClassifier ---- */

static double dot(const double *x, const float *w, int64_t n)
{
	double sum = 0;
	for (int64_t i = 0; i < n; i++)
		sum += x[i] * (double)w[i];
	return sum;
}

/* scores = W x + b; with one row of W for two classes -s and s, which classes of less than two
 * labels leave at one score, against 0 or a half. */
static pai_status linear_classifier(pai_call *c)
{
	classes k = classes_of(c->node);
	const float *w = NULL, *b = NULL;
	int n_w = pai_node_floats(c->node, "coefficients", &w);
	int n_b = pai_node_floats(c->node, "intercepts", &b);
	int64_t n, features;
	const double *x;
	transform_fn transform = NULL;
	void *room = NULL;
	PAI_TRY(read_rows(c, &n, &features, &x));
	PAI_TRY(read_transform(c, &transform));
	int64_t scores = features > 0 ? n_w / features : 0;
	if (scores < 1 || scores * features != n_w || (n_b > 0 && n_b != scores))
		return bad_count(c, "coefficients");
	bool two = scores == 1 && k.n == 2;
	int64_t count = two ? 2 : scores;
	if (count > 1 && k.n && k.n != count)
		return bad_count(c, "coefficients");
	PAI_TRY(give_shapes(c, &k, n, count));
	PAI_TRY(pai_call_room(c, count, sizeof(double), &room));
	double *v = room;
	for (int64_t i = 0; i < n; i++) {
		for (int64_t s = 0; s < scores; s++)
			v[s] = dot(x + i * features, w + s * features, features) +
			       (n_b > 0 ? (double)b[s] : 0);
		if (two) {
			v[1] = v[0];
			v[0] = -v[0];
		}
		transform(v, count);
		bool is_first = count == 1 && v[0] >= (transform == as_they_are ? 0 : 0.5);
		if (count > 1)
			give_label(&k, c->out[0], i, largest(v, count));
		else if (is_first && k.n)
			give_label(&k, c->out[0], i, 0);
		else if (c->out[0] && !k.strings)
			((int64_t *)c->out[0]->data)[i] = is_first;
		else if (c->out[0])
			((pai_str *)c->out[0]->data)[i] = (pai_str){"", 0};
		give_scores(c, i, v, count);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_linear_classifier = {.run = linear_classifier};

/* ---- SVMClassifier ---- */

typedef struct svm {
	classes k;
	int64_t n, vectors, features; /* n classes; no vectors: linear */
	const int64_t *per_class;
	const float *support, *coefficients, *rho; /* [vectors, features], [n - 1, vectors] */
	double gamma, offset, degree;
	int kernel;
	bool all_positive; /* coefficients */
	transform_fn transform;
} svm;

enum { LINEAR, POLY, RBF, SIGMOID };

static double kernel_of(const svm *s, const double *x, const float *y)
{
	double sum = 0;
	for (int64_t i = 0; s->kernel == RBF && i < s->features; i++)
		sum += (x[i] - (double)y[i]) * (x[i] - (double)y[i]);
	if (s->kernel == RBF)
		return exp(-s->gamma * sum);
	sum = dot(x, y, s->features);
	if (s->kernel == LINEAR)
		return sum;
	sum = s->gamma * sum + s->offset;
	return s->kernel == POLY ? pow(sum, s->degree) : tanh(sum);
}

static pai_status read_kernel(pai_call *c, svm *s)
{
	static const char *const names[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
	const char *given = pai_node_string(c->node, "kernel_type", "LINEAR");
	const float *p = NULL;
	int n = pai_node_floats(c->node, "kernel_params", &p);
	if (n == 3) {
		s->gamma = (double)p[0];
		s->offset = (double)p[1];
		s->degree = (double)p[2];
	}
	for (s->kernel = 0; s->kernel < 4; s->kernel++)
		if (strcmp(names[s->kernel], given) == 0)
			return s->kernel == LINEAR || n == 3 ? PAI_OK
							     : bad_count(c, "kernel_params");
	return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "kernel_type"),
			"is none of LINEAR, POLY, RBF, SIGMOID");
}

static pai_status read_svm(pai_call *c, svm *s)
{
	const float *unused;
	int n_support = pai_node_floats(c->node, "support_vectors", &s->support);
	int n_coefficients = pai_node_floats(c->node, "coefficients", &s->coefficients);
	int n_rho = pai_node_floats(c->node, "rho", &s->rho);
	int n_per_class = pai_node_ints(c->node, "vectors_per_class", &s->per_class);
	s->k = classes_of(c->node);
	s->n = s->k.n ? s->k.n : 1;
	PAI_TRY(read_kernel(c, s));
	PAI_TRY(read_transform(c, &s->transform));
	if (pai_node_floats(c->node, "prob_a", &unused) > 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "prob_a"),
				"asks for probabilities, which are not computed");
	for (int i = 0; i < n_per_class; i++)
		if (s->per_class[i] < 0 ||
		    __builtin_add_overflow(s->vectors, s->per_class[i], &s->vectors))
			return bad_count(c, "vectors_per_class");
	int64_t rows = s->vectors ? s->n - 1 : s->n;
	int64_t each = s->vectors ? s->vectors : s->features, pairs = s->n * (s->n - 1) / 2;
	if (s->vectors && (n_per_class != s->n || s->n < 2 ||
			   n_support / s->vectors != s->features || n_support % s->vectors))
		return bad_count(c, "support_vectors");
	if (n_coefficients < 1 || each < 1 || n_coefficients % each ||
	    n_coefficients / each != rows)
		return bad_count(c, "coefficients");
	if (n_rho < (s->vectors ? pairs : 1))
		return bad_count(c, "rho");
	s->all_positive = true;
	for (int i = 0; i < n_coefficients; i++)
		s->all_positive &= s->coefficients[i] >= 0;
	return PAI_OK;
}

/* One score for each pair of classes, which votes for one of them. kernels: [vectors] */
static void score_pairs(const svm *s, const double *kernels, double *scores, double *votes)
{
	int64_t at_i = 0, pair = 0;
	memset(votes, 0, sizeof *votes * (size_t)s->n);
	for (int64_t i = 0; i < s->n; at_i += s->per_class[i++]) {
		int64_t at_j = at_i + s->per_class[i];
		for (int64_t j = i + 1; j < s->n; at_j += s->per_class[j++], pair++) {
			const float *of_i = s->coefficients + (j - 1) * s->vectors + at_i;
			const float *of_j = s->coefficients + i * s->vectors + at_j;
			double v = (double)s->rho[pair] +
				   dot(kernels + at_i, of_i, s->per_class[i]) +
				   dot(kernels + at_j, of_j, s->per_class[j]);
			votes[v > 0 ? i : j]++;
			scores[pair] = v;
		}
	}
}

/* One of two classes: with coefficients that are all positive the second one. */
static int64_t winner(const svm *s, const double *votes)
{
	return s->n == 2 && s->all_positive && s->vectors ? 1 : largest(votes, s->n);
}

static pai_status svm_classifier(pai_call *c)
{
	svm s = {.n = 0};
	int64_t n;
	const double *x;
	void *room = NULL;
	PAI_TRY(read_rows(c, &n, &s.features, &x));
	PAI_TRY(read_svm(c, &s));
	int64_t scores = s.vectors ? s.n * (s.n - 1) / 2 : s.n, given = scores == 1 ? 2 : scores;
	PAI_TRY(give_shapes(c, &s.k, n, given));
	PAI_TRY(pai_call_room(c, s.vectors + given + s.n, sizeof(double), &room));
	double *kernels = room, *v = kernels + s.vectors, *votes = v + given;
	for (int64_t i = 0; i < n; i++) {
		const double *row = x + i * s.features;
		for (int64_t k = 0; k < s.vectors; k++)
			kernels[k] = kernel_of(&s, row, s.support + k * s.features);
		if (s.vectors)
			score_pairs(&s, kernels, v, votes);
		for (int64_t k = 0; !s.vectors && k < s.n; k++)
			votes[k] = v[k] = (double)s.rho[0] +
					  dot(row, s.coefficients + k * s.features, s.features);
		if (s.vectors || s.n > 1)
			give_label(&s.k, c->out[0], i, winner(&s, votes));
		else if (c->out[0] && !s.k.strings)
			((int64_t *)c->out[0]->data)[i] = v[0] > 0;
		else
			give_label(&s.k, c->out[0], i, 0);
		if (scores == 1) {
			v[1] = v[0];
			v[0] = -v[0];
		}
		s.transform(v, given);
		give_scores(c, i, v, given);
	}
	return PAI_OK;
}

/* Every sample meets every support vector and coefficient. */
static double svm_work(const pai_node *n, const pai_tensor *const *in, const pai_tensor *const *out)
{
	const float *unused;
	const pai_tensor *x = in[0];
	double support = pai_node_floats(n, "support_vectors", &unused);
	double coefficients = pai_node_floats(n, "coefficients", &unused);
	(void)out;
	return x && x->rank == 2 ? (double)x->dims[0] * (support + coefficients) : 0;
}

const pai_kernel pai_kernel_svm_classifier = {.run = svm_classifier, .work = svm_work};
