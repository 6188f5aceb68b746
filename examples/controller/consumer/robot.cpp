// The smallest loop around the library, for a robot whose sensors always read zero. usage: robot POLICY.pt

#include <acer_controller.hpp>
#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    acer::SafetyOptions safety;
    safety.ramp_in = 0.5;  // seconds
    acer::Controller controller(argv[1], safety);
    const acer::TaskDescription& task = controller.task();

    acer::RobotDescription robot;  // what you know about your robot; the rest is not compared
    robot.name = "my robot";
    robot.control_dt = 0.05;
    robot.joints = {"bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"};
    controller.check(robot);

    const std::vector<float> observation(task.observation.size());  // your sensors, in the order of task.observation
    const std::vector<double> measured(task.joints.size());         // where your motors are now
    std::vector<float> command(task.joints.size());
    controller.start();
    acer::Tick tick;
    for (int number = 1; !tick.done; ++number) {
      const double now = number * task.control_dt;  // your monotonic clock; sleep until the next period here
      if (number == 40) controller.stop();          // or from a signal handler
      tick = controller.step(now, observation, now, measured, command);
      if (tick.has_command) std::printf("%s %g\n", acer::word(tick.mode), command[0]);  // write to your motors here
    }
    std::printf("stopped by: %s\n", acer::word(tick.cause));
    return 0;
  } catch (const acer::InputError& error) {
    std::fprintf(stderr, "robot: %s\n", error.what());
    return 2;
  }
}
