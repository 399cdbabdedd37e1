//! Command lines with what they say and end with, as people see them. `TRYCMD=overwrite` writes them anew.

#[test]
fn commands_say_what_is_written_down() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path().join("home");
    trycmd::TestCases::new()
        .env("COUNTERFOIL_HOME", home.to_str().expect("UTF-8"))
        .env("COUNTERFOIL_HARDWARE_ROOT", "/nowhere")
        .insert_var("[HOME]", home.to_str().expect("UTF-8").to_owned())
        .expect("a variable")
        .case("tests/cmd/*.trycmd");
}
