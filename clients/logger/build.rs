//! Compiles the recording's schema with a compiler in Rust: no `protoc` is needed to build.
use std::error::Error;
use std::path::PathBuf;

const SCHEMA: &str = "proto/kadenz.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    // Comments stay out of what is embedded in every recording.
    let plain = compiler.open_files([SCHEMA])?.encode_file_descriptor_set();
    std::fs::write(out.join("kadenz.fds"), plain)?;
    let documented = compiler.include_source_info(true).file_descriptor_set();
    prost_build::Config::new().out_dir(&out).compile_fds(documented)?;
    Ok(())
}
