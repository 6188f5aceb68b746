"""Small robots as MJCF, for tests of task=robot."""

from acer_robot.schema import TaskConfig

LEGS = {"left": 0.1, "right": -0.1}


def leg(name, y, joint="hinge", named=True):
    label = f'name="{name}_hip"' if named else ""
    return f"""
    <body name="{name}_leg" pos="0 {y} 0">
      <joint {label} type="{joint}" axis="0 1 0" {'range="-60 60"' if joint == "hinge" else ""}/>
      <geom name="{name}_foot" type="capsule" fromto="0 0 0 0 0 -.2" size=".02" mass=".2"/>
    </body>"""


def walker(joint="hinge", named=True, free=True, extra="", legs=LEGS):
    """Return a trunk with legs of one joint each, in degrees as MJCF's default."""
    body = "".join(leg(name, y, joint, named) for name, y in legs.items())
    base = '<freejoint name="root"/>' if free else ""
    return f"""<mujoco model="walker"><worldbody>
    <body name="trunk" pos="0 0 1">{base}
      <geom name="trunk" type="box" size=".15 .1 .05" mass="2"/>{body}
    </body></worldbody>{extra}</mujoco>"""


def walker_config(tmp_path, xml=None, **options):
    """Write a walker's file and return the options of a velocity task with it."""
    path = tmp_path / "walker.xml"
    path.write_text(walker() if xml is None else xml)
    actuators = {".*": {"kp": 20, "kd": 0.5, "effort": 5, "scale": 0.4}}
    defaults = {
        "suite": "robot",
        "id": "own-velocity",
        "backend": "batch",
        "model": str(path),
        "actuators": actuators,
    }
    return TaskConfig(**(defaults | options))


def pup_config(**options):
    """Return the options of task=robot/pup."""
    from composed import composed_train

    config = composed_train("task=robot/pup").task
    for name, value in options.items():
        setattr(config, name, value)
    return config


ARM = """<mujoco><compiler angle="radian"/><worldbody>
<body name="base"><joint name="turn" axis="0 0 1" range="-2 2"/><geom name="base" type="cylinder" size=".05 .05"
 pos="0 0 .06" mass="1"/>
<body name="upper" pos="0 0 .12"><joint name="lift" axis="0 1 0" range="-1 1"/>
<geom type="capsule" fromto="0 0 .04 0 0 .28" size=".02" mass=".5"/>
<body name="lower" pos="0 0 .3"><joint name="bend" axis="0 1 0" range="-2 2"/>
<geom type="capsule" fromto="0 0 .04 0 0 .2" size=".02" mass=".3"/><site name="tip" pos="0 0 .24"/>
</body></body></body></worldbody></mujoco>"""


def arm_config(tmp_path, **options):
    """Write an arm's file and return the options of a task that reaches with it."""
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    actuators = {".*": {"kp": 40, "kd": 2, "effort": 20, "scale": 1}}
    defaults = {"suite": "robot", "id": "own-reach", "backend": "batch", "model": str(path)}
    defaults |= {"actuators": actuators, "kwargs": {"site": "tip"}}
    return TaskConfig(**(defaults | options))


HOME = {"turn": 0.5, "lift": -0.4, "bend": 1.2}
STILL = {"site": "tip", "start_angle": 0, "start_speed": 0, "control_dt": 0.02, "seconds": 0.06}
POSITION = 'position joint="{}" kp="40" kv="2" gear="2"'
VELOCITY = 'intvelocity joint="{}" kp="40" kv="2" gear="2" ctrlrange="-1 1"'
GENERAL = 'general joint="{}" dyntype="integrator" biastype="affine" gainprm=".4" biasprm="8 -40 -2"'
WITH_STATE = {
    "filter": POSITION + ' timeconst=".2"',
    "delay": POSITION + ' delay=".03" nsample="20"',
    "both": POSITION + ' timeconst=".2" delay=".03" nsample="20"',
    "integrator": VELOCITY + ' actrange="-9 9"',
    "general": GENERAL + ' gear="2" ctrlrange="-1 1"',
}


def own_arm(folder, actuator, **options):
    """Write the arm with an actuator on each joint and return the options of a task that starts still at HOME."""
    folder.mkdir(exist_ok=True)
    rows = "".join(f"<{actuator.format(name)}/>" for name in HOME)
    path = folder / "own.xml"
    stable = '<option integrator="implicitfast"/>'
    path.write_text(ARM.replace("</mujoco>", f"{stable}<actuator>{rows}</actuator></mujoco>"))
    return arm_config(folder, model=str(path), actuators={}, home=HOME, kwargs=STILL, **options)
