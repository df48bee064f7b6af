/* cell_function.c -- the non-linearities that the attribute `activations` of recurrent layers
 * names. Defaults are those of the operators of the same name; names are matched whatever their
 * case. */
#include "runtime/kernels/cell_function.h"
#include <math.h>
#include <stddef.h>
#include <strings.h>

static double affine(double x, double a, double b)
{
	return a * x + b;
}

static double relu(double x, double a, double b)
{
	(void)a, (void)b;
	return x > 0 ? x : isnan(x) ? x : 0;
}

static double leaky_relu(double x, double a, double b)
{
	(void)b;
	return x < 0 ? a * x : x;
}

static double thresholded_relu(double x, double a, double b)
{
	(void)b;
	return x > a ? x : isnan(x) ? x : 0;
}

static double tanh_of(double x, double a, double b)
{
	(void)a, (void)b;
	return tanh(x);
}

static double scaled_tanh(double x, double a, double b)
{
	return a * tanh(b * x);
}

static double sigmoid(double x, double a, double b)
{
	(void)a, (void)b;
	return 1 / (1 + exp(-x));
}

static double hard_sigmoid(double x, double a, double b)
{
	double y = a * x + b;
	return y < 0 ? 0 : y > 1 ? 1 : y;
}

static double elu(double x, double a, double b)
{
	(void)b;
	return x < 0 ? a * expm1(x) : x;
}

static double softsign(double x, double a, double b)
{
	(void)a, (void)b;
	return x / (1 + fabs(x));
}

static double softplus(double x, double a, double b)
{
	(void)a, (void)b;
	return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static const pai_cell_function_row rows[] = {
	{"Affine", 2, {affine, 1, 0}},
	{"Relu", 0, {relu, 0, 0}},
	{"LeakyRelu", 1, {leaky_relu, 0.01f, 0}},
	{"ThresholdedRelu", 1, {thresholded_relu, 1, 0}},
	{"Tanh", 0, {tanh_of, 0, 0}},
	{"ScaledTanh", 2, {scaled_tanh, 1, 1}},
	{"Sigmoid", 0, {sigmoid, 0, 0}},
	{"HardSigmoid", 2, {hard_sigmoid, 0.2f, 0.5}},
	{"Elu", 1, {elu, 1, 0}},
	{"Softsign", 0, {softsign, 0, 0}},
	{"Softplus", 0, {softplus, 0, 0}},
};

const pai_cell_function_row *pai_cell_function_find(const char *name)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcasecmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}
