//! An installed tree in a folder of the test's own, and compilers that see nothing else.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

const PREFIX: &str = "/opt/camelid";

pub struct Stage {
    dir: PathBuf,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with both libraries: libllama as cargo built it beside this test, libggml, which no test can name, built by its name.
fn built() -> PathBuf {
    static BUILD: Once = Once::new();
    let me = std::env::current_exe().expect("a test has a path");
    let deps = me.parent().expect("in target/PROFILE/deps").to_owned();
    let profile = deps.parent().expect("in target/PROFILE").to_owned();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("install_libraries");
    BUILD.call_once(|| {
        let mut c = Command::new(env!("CARGO"));
        c.current_dir(root()).args(["build", "--quiet", "--package", "ggml"]);
        if profile.ends_with("release") {
            c.arg("--release");
        }
        succeed(c);
        std::fs::create_dir_all(&dir).expect("a folder for libraries");
        for file in [deps.join("libllama.so"), profile.join("libggml.so")] {
            let link = dir.join(file.file_name().expect("a name"));
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&file, link).expect("a link");
        }
    });
    dir
}

/// Runs it; what it wrote.
pub fn succeed(mut c: Command) -> String {
    let out = c.output().unwrap_or_else(|e| panic!("{c:?}: {e}"));
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{c:?}: {}\n{}{err}", out.status, String::from_utf8_lossy(&out.stdout));
    String::from_utf8_lossy(&out.stdout).into_owned() + &err
}

impl Stage {
    pub fn new(name: &str) -> Stage {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("install_{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a folder for this test");
        let stage = Stage { dir };
        stage.install();
        stage
    }
    pub fn install(&self) {
        let mut c = Command::new("sh");
        c.arg(root().join("packaging/install.sh")).arg(built()).arg(PREFIX).arg(&self.dir);
        succeed(c);
    }
    fn prefix(&self) -> PathBuf {
        self.dir.join(PREFIX.trim_start_matches('/'))
    }
    pub fn lib(&self) -> PathBuf {
        self.prefix().join("lib")
    }
    pub fn pkg_config(&self) -> String {
        let mut c = Command::new("pkg-config");
        c.args(["--cflags", "--libs", "llama"]).env("PKG_CONFIG_LIBDIR", self.lib().join("pkgconfig"));
        succeed(c).replace(PREFIX, &self.prefix().to_string_lossy())
    }
    /// Compiles `source` against the installed headers; the program's path.
    pub fn compile(&self, compiler: &str, flags: &[&str], file: &str, source: &str, libraries: &[&str]) -> PathBuf {
        let (source_file, program) = (self.dir.join(file), self.dir.join("main"));
        std::fs::write(&source_file, source).expect("writing the source");
        let mut c = Command::new(compiler);
        c.args(flags).arg("-I").arg(self.prefix().join("include")).arg(source_file).arg("-o").arg(&program).args(libraries);
        succeed(c);
        program
    }
    /// With the installed libraries where programs look for them; what it wrote.
    pub fn run(&self, program: &Path, args: &[&str]) -> String {
        let mut c = Command::new(program);
        c.args(args).current_dir(&self.dir).env("LD_LIBRARY_PATH", self.lib());
        succeed(c)
    }
    pub fn flags(&self) -> Vec<String> {
        vec!["-L".into(), self.lib().to_string_lossy().into_owned(), "-lggml".into(), "-lllama".into(), "-lm".into()]
    }
}
