//! Writes the trajectories of `clients/planner/trajectories/` from their geometry; run it after a
//! change to the generator: `cargo run -p kadenz-planner --example make_trajectories`.

mod generator;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("trajectories");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in generator::files() {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        println!("{}", path.display());
    }
    Ok(())
}
