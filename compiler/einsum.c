/* einsum.c -- reads the equation of an Einsum: "ij,jk->ik", with "..." for dimensions without
 * letters. Spaces mean nothing. Sizes are no matter of this file.
 */
#include "compiler/einsum.h"
#include <string.h>

pai_einsum pai_einsum_of(const char *equation)
{
	return (pai_einsum){.rest = equation};
}

bool pai_einsum_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Up to a comma, an arrow or the end. */
static const char *read_term(pai_einsum *e)
{
	int letters = 0, n = 0;
	bool wide = false;
	const char *c = e->rest;
	for (; *c && *c != ',' && *c != '-'; c++) {
		if (*c == ' ')
			continue;
		bool dots = strncmp(c, "...", 3) == 0;
		if (dots ? wide : !pai_einsum_is_letter(*c))
			return "has a character that is no letter";
		if (!dots && ++letters > PAI_MAX_RANK)
			return "has a term of too many dimensions";
		for (int k = 0; k < (dots ? 3 : 1); k++)
			e->term[n++] = *c;
		c += dots ? 2 : 0;
		wide |= dots;
	}
	e->term[n] = 0;
	e->rest = c;
	return NULL;
}

const char *pai_einsum_term(pai_einsum *e)
{
	if (e->terms++ && *e->rest++ != ',')
		return "has fewer terms than the node has inputs";
	const char *why = read_term(e);
	for (const char *c = e->term; !why && *c; c++)
		e->count[(int)*c]++;
	e->has_wide |= !why && strchr(e->term, '.');
	return why;
}

const char *pai_einsum_result(pai_einsum *e)
{
	if (!*e->rest) {
		char *to = e->term;
		if (e->has_wide)
			to = strcpy(to, "...") + 3;
		for (int c = 'A'; c <= 'z'; c++)
			if (pai_einsum_is_letter((char)c) && e->count[c] == 1)
				*to++ = (char)c;
		*to = 0;
		return NULL;
	}
	if (strncmp(e->rest, "->", 2) != 0)
		return "has more terms than the node has inputs";
	e->rest += 2;
	const char *why = read_term(e);
	if (!why && *e->rest)
		return "has more behind its result";
	for (const char *c = e->term; !why && *c; c++) {
		if (*c != '.' && !e->count[(int)*c])
			return "has a letter on the right only";
		if (*c != '.' && strchr(c + 1, *c))
			return "has a letter twice on the right";
	}
	return why;
}

/* The labels of the last term, "..." being `wide` dimensions; their number. */
static int label(const pai_einsum *e, int wide, int *to)
{
	int n = 0;
	for (const char *c = e->term; *c; c++) {
		if (*c != '.') {
			to[n++] = (unsigned char)*c;
			continue;
		}
		for (int k = wide - 1; k >= 0; k--)
			to[n++] = PAI_EINSUM_LETTERS + k;
		c += 2;
	}
	return n;
}

/* Letters of the last term. */
static int count_letters(const pai_einsum *e)
{
	return (int)strlen(e->term) - (strchr(e->term, '.') ? 3 : 0);
}

const char *pai_einsum_operand_labels(pai_einsum *e, int rank, int to[PAI_MAX_RANK])
{
	const char *why = pai_einsum_term(e);
	if (why)
		return why;
	int wide = rank - count_letters(e);
	if (rank > PAI_MAX_RANK || wide < 0 || (wide > 0 && !strchr(e->term, '.')))
		return "does not fit the ranks of the inputs";
	e->wide = wide > e->wide ? wide : e->wide;
	label(e, wide, to);
	return NULL;
}

const char *pai_einsum_result_labels(pai_einsum *e, int *rank, int to[PAI_MAX_RANK])
{
	const char *why = pai_einsum_result(e);
	if (why)
		return why;
	if (count_letters(e) + (strchr(e->term, '.') ? e->wide : 0) > PAI_MAX_RANK)
		return "has a result of too many dimensions";
	*rank = label(e, e->wide, to);
	return NULL;
}
