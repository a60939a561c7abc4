//! A room and its weather: a first-order model with a noisy sensor, the same at each run.

use std::time::Duration;

/// A room: it nears the temperature that the weather and its heater would give it in the end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Room {
    /// Whether it is heated.
    pub(super) heater: bool,
    temperature_c: f64,
    outside_c: f64,
    /// Where the noise of its sensor is.
    noise: u64,
}

impl Room {
    /// How much warmer than outside a room gets that is always heated.
    const HEATED_BY_C: f64 = 18.0;
    /// How long it takes for 63 % of the way: minutes instead of hours, so that whoever watches sees something happen.
    const INERTIA_S: f64 = 240.0;
    /// How far off the sensor is at most.
    const NOISE_C: f64 = 0.05;

    /// The room of a thermostat: 17 to 22 °C warm, where it is 8 to 14 °C outside.
    pub(super) fn new(number: u32) -> Self {
        let mut room = Self { heater: false, temperature_c: 0.0, outside_c: 0.0, noise: number.into() };
        room.temperature_c = 17.0 + 5.0 * room.draw();
        room.outside_c = 8.0 + 6.0 * room.draw();
        room
    }

    /// Lets time pass.
    pub(super) fn step(&mut self, passed: Duration) {
        let end_c = self.outside_c + if self.heater { Self::HEATED_BY_C } else { 0.0 };
        let left = (-passed.as_secs_f64() / Self::INERTIA_S).exp();
        self.temperature_c = end_c + (self.temperature_c - end_c) * left;
        self.draw();
    }

    /// What its sensor shows, in hundredths.
    pub(super) fn measured_c(&self) -> f64 {
        let noise_c = Self::NOISE_C * (2.0 * mix(self.noise) - 1.0);
        ((self.temperature_c + noise_c) * 100.0).round() / 100.0
    }

    /// The next number of its noise: from 0 to less than 1.
    fn draw(&mut self) -> f64 {
        // The golden ratio's share of 2^64: successive values never come near each other (SplitMix64).
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.noise)
    }
}

/// SplitMix64's finalizer, as a fraction of one.
fn mix(state: u64) -> f64 {
    let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(mut room: Room, seconds: u64) -> Room {
        (0..seconds).for_each(|_| room.step(SECOND));
        room
    }

    #[test]
    fn a_room_nears_what_its_heater_and_the_weather_give() {
        for heater in [true, false] {
            let room = after(Room { heater, ..Room::new(7) }, 3_600);
            let end_c = room.outside_c + if heater { Room::HEATED_BY_C } else { 0.0 };
            assert!((room.measured_c() - end_c).abs() < 0.1, "{room:?}");
        }
    }

    #[test]
    fn a_heater_can_hold_every_room_at_twenty_degrees_and_overheats_none() {
        for number in 1..=1_000 {
            let Room { outside_c, temperature_c, .. } = Room::new(number);
            assert!((8.0..14.0).contains(&outside_c) && (17.0..22.0).contains(&temperature_c));
            assert!((21.0..35.0).contains(&(outside_c + Room::HEATED_BY_C)));
        }
    }

    #[test]
    fn a_room_is_the_same_each_time_and_no_two_are_alike() {
        assert_eq!(after(Room::new(7), 60), after(Room::new(7), 60));
        assert_ne!(after(Room::new(7), 60).measured_c(), after(Room::new(8), 60).measured_c());
    }

    #[test]
    fn time_may_pass_in_one_step_or_in_many() {
        let mut room = Room::new(7);
        room.step(SECOND * 60);
        assert!((room.temperature_c - after(Room::new(7), 60).temperature_c).abs() < 1e-9);
    }
}
