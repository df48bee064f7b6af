/* dendrites.h -- layers as dendrites see them, and the parts that a branch is built from; private
 * to the dendrite passes. */
#ifndef PAI_DENDRITES_H
#define PAI_DENDRITES_H

#include "passes/passes.h"

/* One neuron layer: Conv, ConvTranspose, Gemm or MatMul, with the bias Add behind a MatMul and a
 * BatchNormalization directly behind it. */
typedef struct pai_layer {
	const char *name;
	pai_node *op, *add, *bn; /* add, bn: NULL where there is none */
	pai_value *x, *y;        /* y: of the last of them */
	const pai_tensor *w;     /* type and shape of the weight */
	const pai_tensor *b;     /* of the bias; NULL: none */
	int64_t channels;        /* of y */
	int spatial;             /* axes of y behind the channels; 0: channels are last */
} pai_layer;

/* False when the node is none, its weight is no initialiser, or it is part of a dendrite. */
bool pai_layer_of(const pai_uses *uses, pai_node *n, pai_layer *out);
/* The initialiser or constant behind a value, through transforms on it; NULL: none. */
const pai_tensor *pai_parameter_of(const pai_value *v);

/* Nodes of dendrites are found again by these entries of metadata_props. */
#define PAI_DENDRITE_LAYER "pai.dendrite.layer"   /* name of the layer they serve */
#define PAI_DENDRITE_INDEX "pai.dendrite.index"   /* 0, 1, ... of that layer */
#define PAI_DENDRITE_ROLE "pai.dendrite.role"     /* branch, activation, combine */
#define PAI_DENDRITE_RECIPE "pai.dendrite.recipe" /* reference, block */

/* "" when there is none. */
const char *pai_dendrite_prop(const pai_node *n, const char *key);

typedef PAI_VEC(pai_layer) pai_layers;

typedef struct pai_span { /* what a block dendrite goes around */
	const pai_layer *first, *last;
	PAI_VEC(pai_node *) between; /* pools and Flatten that the branch repeats, in order */
	int64_t per_channel; /* inputs of the last layer that one channel of the first becomes */
} pai_span;

/* The span that ends with `last`; false: there is none. */
bool pai_span_of(pai_arena *a, const pai_layers *layers, const pai_layer *last, pai_span *out);
/* Inputs of a layer at one position of x: axis 1 of a Conv's weight, and so on. */
int64_t pai_layer_inputs(const pai_layer *l);
bool pai_is_pool(const pai_node *n);

typedef struct pai_dendrite_init { /* INIT(name, meaning) */
	const char *name, *meaning;
	double (*deviation)(double fan_in, double scale);
} pai_dendrite_init;

const pai_dendrite_activation *pai_dendrite_activation_find(const char *name);
const pai_dendrite_init *pai_dendrite_init_find(const char *name);

/* One branch under construction. */
typedef struct pai_branch {
	pai_ctx *ctx;
	pai_patch *patch;
	pai_arena *arena;       /* the model's */
	const pai_layer *layer; /* whose output it joins */
	const char *recipe;
	int index;
	pai_dtype dtype;
	double lr; /* factor of the learning rate of its parameters */
} pai_branch;

/* A parameter <layer>.dendrite.<index>.<part>, normal with that deviation, else all `value`. */
PAI_MUST_USE pai_status pai_branch_parameter(pai_branch *b, const char *part, int rank,
					     const int64_t *dims, double deviation, double value,
					     pai_value **out);
/* Another parameter's contents to start from. */
PAI_MUST_USE pai_status pai_branch_copy(pai_branch *b, const char *part, const pai_tensor *from,
					pai_value **out);
/* A node of the branch, tagged; attributes of `like` (NULL: none). */
pai_node *pai_branch_node(pai_branch *b, const char *role, const char *op_type, int n_in,
			  pai_value *const *in, int n_out, const pai_node *like);
/* Tags what an activation emitted as part of the branch. */
pai_value *pai_branch_activate(pai_branch *b, const pai_dendrite_activation *f, pai_value *z);

#endif
