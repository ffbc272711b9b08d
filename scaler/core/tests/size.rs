//! An idle sandbox is cheap: its machine, without what the watch keeps of it anyway.

use reveille_scaler_core::sandbox::Sandbox;

#[test]
fn the_machine_of_an_idle_sandbox_takes_less_than_a_kilobyte() {
    assert!(size_of::<Sandbox>() <= 1024, "{}", size_of::<Sandbox>());
}
