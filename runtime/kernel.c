/* kernel.c -- which operator has which reference kernel, and the random numbers kernels draw.
 *
 * Random numbers are counter based: a value is a function of the seed, the node, the step and the
 * index of the element, so it does not depend on the order of execution or on threads. The
 * generator is Philox4x32-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). */
#include "runtime/run.h"
#include <math.h>

const pai_kernel pai_kernel_none = {.run = NULL};

static const pai_kernel *const kernels[] = {
#define OP(name, since, traits, in, out, attr, types, shape, kernel, ...) &pai_kernel_##kernel,
#include "schemas/all_ops.def"
#undef OP
};

const pai_kernel *pai_op_kernel(const pai_op *op)
{
	const pai_kernel *k = kernels[pai_op_id(op)];
	return k->run ? k : NULL;
}

enum { ROUNDS = 10 };

static void philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
	uint32_t k0 = key[0], k1 = key[1];
	uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
		uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
		c0 = n0;
		c1 = (uint32_t)p1;
		c2 = n2;
		c3 = (uint32_t)p0;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

/* The seed is the key and (stream, step) the counter of one block, whose 128 bits are the key and
 * the upper half of the counter of the new stream; the lower half counts its blocks. */
pai_random pai_random_new(uint64_t seed, uint64_t stream, uint64_t step)
{
	const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
	const uint32_t counter[4] = {(uint32_t)stream, (uint32_t)(stream >> 32), (uint32_t)step,
				     (uint32_t)(step >> 32)};
	uint32_t w[4];
	philox(key, counter, w);
	return (pai_random){.key = {w[0], w[1]}, .counter = {0, 0, w[2], w[3]}};
}

void pai_random_block(const pai_random *r, uint64_t i, uint32_t out[4])
{
	uint64_t low = ((uint64_t)r->counter[1] << 32 | r->counter[0]) + i;
	const uint32_t counter[4] = {(uint32_t)low, (uint32_t)(low >> 32), r->counter[2],
				     r->counter[3]};
	philox(r->key, counter, out);
}

static float unit(uint32_t word)
{
	return (float)(word >> 8) * 0x1p-24f;
}

float pai_random_uniform(const pai_random *r, uint64_t i)
{
	uint32_t w[4];
	pai_random_block(r, i / 4, w);
	return unit(w[i % 4]);
}

void pai_random_uniforms(const pai_random *r, uint64_t first, size_t n, float *out)
{
	uint32_t w[4];
	uint64_t have = UINT64_MAX; /* no block has this number */
	for (size_t i = 0; i < n; i++) {
		uint64_t at = first + i;
		if (at / 4 != have)
			pai_random_block(r, have = at / 4, w);
		out[i] = unit(w[at % 4]);
	}
}

/* Box and Muller: sqrt(-2 log u) cos(2 pi v), u in (0,1], v in [0,1). */
float pai_random_normal(const pai_random *r, uint64_t i)
{
	uint32_t w[4];
	pai_random_block(r, i / 2, w);
	double u = ((double)w[i % 2 * 2] + 1) * 0x1p-32, v = (double)w[i % 2 * 2 + 1] * 0x1p-32;
	return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586477 * v));
}

/* An attribute `seed` of the node stands in for the context's. */
pai_random pai_call_random(const pai_call *c)
{
	const pai_attr *a = pai_node_attr(c->node, "seed");
	uint64_t seed = c->ctx->seed;
	if (a && a->type == PAI_ATTR_INT)
		seed = (uint64_t)a->i;
	else if (a && a->type == PAI_ATTR_FLOAT) {
		union {
			float f;
			uint32_t u;
		} bits = {.f = a->f};
		seed = bits.u;
	}
	uint64_t stream = (uint64_t)(uint32_t)c->node->id | (uint64_t)c->run->stream << 32;
	return pai_random_new(seed, stream, c->run->step);
}
