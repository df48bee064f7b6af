/* glob.c -- * stands for any characters, ? for one. Linear in practice, quadratic at worst: on a
 * mismatch only the last * is tried again.
 */
#include "compiler/compiler.h"

bool pai_glob(const char *pattern, const char *s)
{
	const char *star = NULL, *from = s;
	while (*s) {
		if (*pattern == '*') {
			star = ++pattern;
			from = s;
		} else if (*pattern == '?' || *pattern == *s) {
			pattern++;
			s++;
		} else if (star) {
			pattern = star;
			s = ++from;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}
