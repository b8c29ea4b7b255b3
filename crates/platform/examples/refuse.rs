//! `refuse mbind,move_pages -- PROGRAM ARGS...`: runs a program whose system calls of these names fail with EPERM, as under a container's filter.
use std::os::unix::process::CommandExt;

const CALLS: [(&str, libc::c_long); 5] = [
    ("mbind", libc::SYS_mbind),
    ("move_pages", libc::SYS_move_pages),
    ("set_mempolicy", libc::SYS_set_mempolicy),
    ("get_mempolicy", libc::SYS_get_mempolicy),
    ("sched_setaffinity", libc::SYS_sched_setaffinity),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [names, dashes, program, rest @ ..] = &args[..] else { fail("refuse CALL[,CALL...] -- PROGRAM [ARGS...]") };
    if dashes != "--" {
        fail("-- is missing");
    }
    let number = |name: &str| CALLS.iter().find(|c| c.0 == name).map_or_else(|| fail(&format!("{name}: not known here")), |c| c.1 as u32);
    if let Err(e) = filter(&names.split(',').map(number).collect::<Vec<u32>>()) {
        fail(&format!("no filter: {e}"));
    }
    let e = std::process::Command::new(program).args(rest).exec();
    fail(&format!("{program}: {e}"));
}

fn fail(why: &str) -> ! {
    eprintln!("refuse: {why}");
    std::process::exit(126)
}

/// A program of the kernel's filter machine: one comparison a call, then yes or no.
fn filter(calls: &[u32]) -> std::io::Result<()> {
    let step = |code: u32, k: u32, jt: usize| libc::sock_filter { code: code as u16, jt: jt as u8, jf: 0, k };
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)]; // the number is the first word of seccomp_data
    for (i, call) in calls.iter().enumerate() {
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call, calls.len() - i));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    program.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0));
    let code = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let told = |r: libc::c_int| if r == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    // SAFETY: two settings of this process; the program is alive while the kernel copies it.
    told(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: as above.
    told(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const code) })
}
