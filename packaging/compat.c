// What programs of a glibc before 2.33 had in themselves (libc_nonshared.a): stat and its kin, as calls with a version of the struct.
#include <sys/stat.h>
#undef stat64
#undef fstat64
#undef lstat64
#undef fstatat64

// The struct of the kernel: 1 on x86-64, 0 on the other 64-bit machines.
#ifdef __x86_64__
enum { STAT_VERSION = 1 };
#else
enum { STAT_VERSION = 0 };
#endif

struct stat64;
int __xstat64(int version, const char * path, struct stat64 * out);
int __lxstat64(int version, const char * path, struct stat64 * out);
int __fxstat64(int version, int file, struct stat64 * out);
int __fxstatat64(int version, int folder, const char * path, struct stat64 * out, int flags);

int stat64(const char * path, struct stat64 * out) {
    return __xstat64(STAT_VERSION, path, out);
}

int lstat64(const char * path, struct stat64 * out) {
    return __lxstat64(STAT_VERSION, path, out);
}

int fstat64(int file, struct stat64 * out) {
    return __fxstat64(STAT_VERSION, file, out);
}

int fstatat64(int folder, const char * path, struct stat64 * out, int flags) {
    return __fxstatat64(STAT_VERSION, folder, path, out, flags);
}
